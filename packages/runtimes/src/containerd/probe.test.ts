import { expect, test } from 'vitest';
import { Engine } from './engine.ts';
import { findLogProgram } from './log-program.ts';
import { probeContainers } from './probe.ts';
import { createWorld } from './testing/world.ts';

const signal = AbortSignal.timeout(60_000);
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined };

test('what works is said with versions; what is missing comes with a remedy', async () => {
  const world = await createWorld();
  try {
    const engine = new Engine(world.identity, quiet);
    const findings = await probeContainers(engine, findLogProgram(), signal);
    expect(findings.find(({ name }) => name === 'container')).toMatchObject({
      ok: true,
      text: expect.stringMatching(/containerd \d+\.\d+.* runc \d+\.\d+/),
    });
    expect(findings.map(({ name }) => name).sort()).toEqual([
      'container',
      'container.docker',
      'container.limits',
      'container.overlay',
      'container.podman',
      'container.seccomp',
      'container.userNamespace',
    ]);
    const unbuilt = await probeContainers(engine, '/no/such/skerry-log', signal);
    expect(unbuilt[0]).toMatchObject({
      ok: false,
      level: 'missing',
      remedy: expect.stringContaining('make'),
    });
    engine.close();
    const silent = new Engine(world.identity, quiet, '/no/such/containerd.sock');
    expect((await probeContainers(silent, findLogProgram(), signal))[0]).toMatchObject({
      ok: false,
      text: expect.stringContaining('/no/such/containerd.sock'),
    });
    silent.close();
  } finally {
    await world.end();
  }
});
