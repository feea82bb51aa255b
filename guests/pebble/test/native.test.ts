import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { folder } from './guest.ts';

test('allocator, request parser and text conversion hold under sanitizers with random input', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'pebble-native-'));
  try {
    const program = join(scratch, 'check');
    const sources = ['arena.c', 'http_parse.c', 'text.c'].map((file) => join(folder, 'src', file));
    const flags = [
      '-O1',
      '-g',
      '-Wall',
      '-Werror',
      '-fsanitize=address,undefined',
      '-fno-sanitize=alignment',
      '-fno-sanitize-recover=all',
    ];
    execFileSync('gcc', [
      ...flags,
      `-I${join(folder, 'src')}`,
      '-o',
      program,
      join(folder, 'test', 'native', 'check.c'),
      ...sources,
    ]);
    execFileSync(program, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 50_000 });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});
