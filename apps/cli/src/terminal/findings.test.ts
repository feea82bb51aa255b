import type { ProbeFinding } from '@skerry/model';
import { expect, test } from 'vitest';
import { fold, formatFindings } from './findings.ts';

const FINDINGS: ProbeFinding[] = [
  { name: 'vm', ok: true, level: 'ok', text: 'QEMU 7.2.22, limits by control groups (hybrid)' },
  {
    ...{ name: 'vm.tpm', ok: false, level: 'missing' },
    text: 'virtual machines have no TPM: swtpm is not installed',
    remedy: 'apt-get install --no-install-recommends swtpm',
  },
];

test('what does not work has its remedy below it, and the last line counts', () => {
  expect(formatFindings('local', FINDINGS).split('\n')).toEqual([
    'local',
    'ok   vm      QEMU 7.2.22, limits by control groups (hybrid)',
    'no   vm.tpm  virtual machines have no TPM: swtpm is not installed',
    '             → apt-get install --no-install-recommends swtpm',
    '1 ok, 0 in part, 1 not; → says what to do',
  ]);
});

test('no line is wider than the terminal, and no word of it is lost', () => {
  for (const width of [50, 60, 80, 132]) {
    const text = formatFindings('local', FINDINGS, width);
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(width);
    for (const { text: words } of FINDINGS)
      expect(text.replace(/\s+/g, ' ')).toContain(words.split(' ').join(' '));
  }
});

test('a word that does not fit has a line of its own', () => {
  expect(fold('see /a/very/long/path/to/it now', 10)).toEqual(['see', '/a/very/long/path/to/it', 'now']);
});
