// Whole systems of Debian's packages, each with its own init: they boot, are asked to end, and end.
import type { Bytes, Millis } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../port.ts';
import { begin, type LxcBed, logText, makeLxcBed } from './testing/bed.ts';
import { debianRoot } from './testing/debian-root.ts';

const LIMIT_MS = 300_000;
const signal = AbortSignal.timeout(LIMIT_MS);
let bed: LxcBed;
let runtime: Runtime;
beforeAll(async () => {
  bed = await makeLxcBed();
  runtime = bed.open();
}, LIMIT_MS);
afterAll(() => bed.close());

async function inside(uid: GuestSpec['uid'], ...command: string[]): Promise<string> {
  const session = await runtime.exec!.exec(uid, { command, terminal: false }, signal);
  let text = '';
  for await (const { data } of session.output) text += Buffer.from(data).toString();
  return text.trim();
}

const CASES = [
  {
    name: 'systemd',
    packages: ['systemd-sysv', 'dbus'],
    isUp: (uid: GuestSpec['uid']) => inside(uid, 'systemctl', 'is-active', 'multi-user.target'),
    up: /^active$/,
  },
  {
    name: 'openrc',
    packages: ['sysvinit-core', 'openrc'],
    isUp: (uid: GuestSpec['uid']) => inside(uid, 'rc-status', '-r'),
    up: /^default$/,
  },
] as const;

for (const { name, packages, isUp, up } of CASES) {
  let imported: ReturnType<LxcBed['images']['importFile']> | undefined;
  test.for([false, true])(
    `${name} boots to its default level and ends when asked to (user namespace: %s)`,
    { timeout: LIMIT_MS },
    async (userNamespace, { skip }) => {
      const path = await debianRoot(name, packages);
      if (path === undefined) return skip('mmdebstrap can not make it: no mirror of Debian is within reach');
      imported ??= bed.images.importFile(path, { reference: `${name}:test`, signal });
      const [image] = await imported;
      expect(image!.facts).toMatchObject({ kind: 'rootfs', facts: { init: { kind: name } } });
      const base = bed.spec({
        imageDigest: image!.facts.digest,
        memoryBytes: (256 * 1024 * 1024) as Bytes,
        pids: 200,
        security: { readOnlyRoot: false, capabilities: [], userNamespace },
      });
      const spec = { ...base, network: await bed.netns(base.uid) };
      await begin(runtime, spec);
      await eventually('it is up', async () => up.test(await isUp(spec.uid)), { withinMs: 60_000 });
      expect(await inside(spec.uid, 'hostname')).toBe(spec.name);
      expect(await inside(spec.uid, 'cat', '/etc/resolv.conf')).toContain('nameserver 10.200.0.1');
      expect(await inside(spec.uid, 'cat', '/proc/net/fib_trie')).toContain('10.200.0.2');
      expect((await logText(runtime, spec.uid)).length).toBeGreaterThan(0);
      const stopped = await runtime.apply({ do: 'stop', uid: spec.uid, graceMs: 60_000 as Millis }, signal);
      expect(stopped).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
      await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
      expect(await bed.leftovers(spec.uid)).toEqual([]);
    },
  );
}
