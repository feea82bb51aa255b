/** Makes, starts, stops and removes guests without end, until it is killed: `life DATA-FOLDER SPEC`. For kill.test.ts. */
import { openDataFolder } from '@skerry/host';
import { createImageStore } from '@skerry/images';
import { type Millis, newId } from '@skerry/model';
import type { GuestSpec } from '../../port.ts';
import { createLxcRuntime } from '../runtime.ts';

const [dataDir, nativeFolder, spec] = process.argv.slice(2) as [string, string, string];
const images = await createImageStore({ dataDir });
const runtime = createLxcRuntime({
  ...{ identity: openDataFolder(dataDir), images, nativeFolder },
  logger: { warn: () => undefined },
});
const signal = new AbortController().signal;
const life = async () => {
  for (;;) {
    const own: GuestSpec = { ...(JSON.parse(spec) as GuestSpec), uid: newId<'instance'>() };
    await runtime.apply({ do: 'create', spec: own }, signal);
    await runtime.apply({ do: 'start', uid: own.uid }, signal);
    await runtime.apply({ do: 'stop', uid: own.uid, graceMs: 2000 as Millis }, signal);
    await runtime.apply({ do: 'remove', uid: own.uid }, signal);
    process.stdout.write('.');
  }
};
await Promise.all([life(), life()]);
