// Several data folders on one machine at once: they do not touch each other, also when one of them goes.
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { expect, test } from 'vitest';
import { ROOT, startProgram } from '../support/program.ts';

test('two data folders run side by side, and removing one leaves the other’s guests as they are', async () => {
  const [one, two] = await Promise.all([startProgram(), startProgram()]);
  let purged: string[] | undefined;
  try {
    const boot = async (program: typeof one) => {
      await program.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
      await program.run(
        'image',
        'build',
        'thermo',
        '--from',
        join(ROOT, 'guests/pebble/functions/thermo.ts'),
      );
      await program.run('apply', '-f', join(ROOT, 'examples/spine.yaml'), '--wait');
      return program.json<Instance[]>('workload', 'instances');
    };
    const [first, second] = await Promise.all([boot(one), boot(two)]);
    const addresses = [...first, ...second].map((instance) => instance.spec.network!.address);
    expect(new Set(addresses).size).toBe(4);
    purged = await one.purge();
    expect(purged).toEqual([]);
    for (const instance of second) {
      expect((await fetch(`http://${instance.spec.network!.address}:8080/healthz`)).ok).toBe(true);
    }
    const after = await two.json<Instance[]>('workload', 'instances');
    expect(after.map((instance) => instance.status.pid)).toEqual(
      second.map((instance) => instance.status.pid),
    );
  } finally {
    if (!purged) await one.purge();
    expect(await two.purge()).toEqual([]);
  }
});
