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

test('every form that names an engine is one choice, and what names none is refused with the forms', () => {
  const chosen = (asked: Parameters<typeof engineChoice>[1]) => {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-choice-'));
    const identity = openDataFolder(folder);
    try {
      const choice = engineChoice(identity, asked);
      expect(engineChoice(identity, asked)).toEqual(choice); // asked for again, or not at all
      expect(engineChoice(identity, {})).toEqual(choice);
      return choice;
    } finally {
      rmSync(folder, { recursive: true, force: true });
      rmSync(identity.runDir, { recursive: true, force: true });
    }
  };
  expect(chosen({ engine: 'docker' })).toEqual({ docker: '/var/run/docker.sock' });
  expect(chosen({ engine: 'docker:/d.sock' })).toEqual(chosen({ docker: '/d.sock' }));
  expect(chosen({ engine: 'podman' })).toEqual({ podman: '/run/podman/podman.sock' });
  expect(chosen({ engine: 'podman:/a:b.sock' })).toEqual({ podman: '/a:b.sock' });
  expect(chosen({ engine: 'containerd:/c.sock' })).toEqual(chosen({ engine: '/c.sock' }));
  expect(chosen({ engine: 'containerd' })).toEqual({});
  for (const engine of ['crio', 'podman:', 'docker:tcp://somewhere', 'podman.sock', ''])
    expect(() => chosen({ engine })).toThrow(/there is no engine ".*": --engine takes containerd, /);
});
