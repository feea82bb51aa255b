import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataFolder } from '@skerry/host';
import { expect, test } from 'vitest';
import { engineChoice } from './engine-choice.ts';

test('the engine of a data folder is chosen once and kept', () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-choice-'));
  const identity = openDataFolder(folder);
  try {
    expect(engineChoice(identity, { docker: '/d.sock' })).toEqual({ docker: '/d.sock' });
    expect(engineChoice(identity, {})).toEqual({ docker: '/d.sock' });
    expect(engineChoice(identity, { docker: '/d.sock' })).toEqual({ docker: '/d.sock' });
    expect(() => engineChoice(identity, { engine: '/c.sock' })).toThrow(
      /are on the Docker engine at \/d.sock/,
    );
    expect(() => engineChoice(identity, { engine: '/c.sock', docker: '/d.sock' })).toThrow(/choose one/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    rmSync(identity.runDir, { recursive: true, force: true });
  }
});
