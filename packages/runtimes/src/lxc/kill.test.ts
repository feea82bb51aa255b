// An agent that is killed at any line: the next one finds all guests, knows how they are, and takes everything away.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cgroupChildren } from '@skerry/host';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LxcBed, makeLxcBed, shell } from './testing/bed.ts';

const ROUNDS = 12;
/** A life takes about 60 ms: the end comes in any of its lines. */
const LONGEST_MS = 250;

const root = fileURLToPath(new URL('../../../../', import.meta.url));
// Beside node_modules, so that native modules are found.
const program = join(root, `node_modules/.skerry-lxc-life-${process.pid}.mjs`);
const signal = AbortSignal.timeout(120_000);
let bed: LxcBed;
beforeAll(async () => {
  bed = await makeLxcBed();
  await build({
    entryPoints: [fileURLToPath(new URL('./testing/life.ts', import.meta.url))],
    ...{ outfile: program, bundle: true, platform: 'node', format: 'esm', packages: 'external' },
    conditions: ['@skerry/source'],
    alias: Object.fromEntries(
      ['host', 'images', 'model', 'network'].map((name) => [
        `@skerry/${name}`,
        join(root, `packages/${name}/src/index.ts`),
      ]),
    ),
  });
});
afterAll(async () => {
  rmSync(program, { force: true });
  await bed.close();
});

test(`after kill -9 at ${ROUNDS} moments every guest is found and goes without a trace`, async () => {
  const runtime = bed.open();
  let outlived = 0;
  const spec = bed.spec({
    ...shell('trap "exit 0" TERM; while true; do sleep 1000 & wait; done'),
    security: { readOnlyRoot: false, capabilities: [], userNamespace: true },
  });
  const native = join(root, 'packages/runtimes/native/build');
  for (let round = 0; round < ROUNDS; round++) {
    const agent = spawn(process.execPath, [program, bed.identity.dataDir, native, JSON.stringify(spec)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(agent, 'exit');
    await Promise.race([once(agent.stdout!, 'data'), ended]); // it has gone round once
    await wait((round / ROUNDS) * LONGEST_MS);
    expect(agent.exitCode).toBe(null);
    agent.kill('SIGKILL');
    await ended;
    for (const uid of await runtime.list(signal)) {
      const { state } = await runtime.recover(uid, signal);
      if (state === 'running') outlived++;
      expect(await runtime.apply({ do: 'remove', uid }, signal)).toEqual({ state: 'absent' });
      expect(await bed.leftovers(uid)).toEqual([]);
    }
    expect(cgroupChildren(bed.identity.cgroup)).toEqual([]);
  }
  expect(outlived).toBeGreaterThan(0);
}, 120_000);
