// The log of a program that must not end because its disk is full. /dev/full answers every write with ENOSPC (full(4)).
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createLogger } from './log.ts';

test('a full disk under the log ends nothing, however much is written', () => {
  const fd = openSync('/dev/full', 'w');
  const logger = createLogger(fd);
  for (let i = 0; i < 5000; i++) expect(() => logger.info({ i }, 'a line that finds no room')).not.toThrow();
  closeSync(fd);
});

test('lines stand in it, one for each word, secrets hidden', () => {
  const path = join(tmpdir(), `skerry-log-${process.pid}`);
  const fd = openSync(path, 'w');
  try {
    const logger = createLogger(fd);
    logger.info({ token: 'secret' }, 'first');
    logger.warn('second');
    const lines = readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([{ token: '[Redacted]', msg: 'first' }, { msg: 'second' }]);
  } finally {
    closeSync(fd);
    rmSync(path);
  }
});
