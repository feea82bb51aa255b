// One and the same guest on containerd, Docker and Podman: what it sees of itself is the same, line by line.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createContainerdRuntime } from '../containerd/runtime.ts';
import { logText, run, shell } from '../containerd/testing/world.ts';
import type { GuestSpec, Runtime } from '../port.ts';
import { type DockerBed, makeDockerBed } from './testing/bed.ts';
import { startDockerd } from './testing/dockerd.ts';
import { startPodman } from './testing/podman.ts';

const signal = AbortSignal.timeout(300_000);
const MiB = 1024 * 1024;
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined };

/** Everything that a manifest says, or that our walls promise. */
const LOOK = [
  'exec 2>/dev/null', // its place among the lines is chance
  'echo "env $GREETING $FROM_IMAGE $HOSTNAME $PATH"; pwd; id -u; id -g; id -G; hostname; echo $(cat /etc/hostname); umask',
  // Which groups, not how often: Podman names one twice that is told twice.
  'grep ^Groups: /proc/self/status | grep -o "[0-9]*" | sort -u',
  'grep -E "^(NoNewPrivs|Seccomp|Cap(Inh|Prm|Eff|Bnd|Amb)):" /proc/self/status',
  'grep -E "open files" /proc/self/limits',
  'cat /etc/resolv.conf; grep guest-0 /etc/hosts',
  'for f in / /etc /tmp /run /dev/shm; do echo x 2>/dev/null > $f/x && echo "$f writable" || echo "$f read-only"; done',
  'cp /bin/busybox /tmp/true 2>/dev/null && /tmp/true && echo runs from /tmp',
  'grep -E " /(tmp|run|dev/shm) " /proc/mounts | sed "s/,size=[^ ,]*//; s/,inode64//" | cut -d" " -f2-4 | sort',
  'cat /data/word; echo x 2>/dev/null > /data/y || echo data read-only; echo x > /kept/y && echo kept writable',
  'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range',
  'grep -E "^ +(eth|lo)" /proc/net/dev | cut -d: -f1; cat /proc/net/route | grep -c eth0',
  'ls /dev | grep -v -E "^(core|fd|std|ptmx)"; ls /proc/acpi /sys/firmware 2>/dev/null; wc -c < /proc/kcore',
  'cat /proc/self/cgroup | cut -d: -f2- | sort -u',
  // The group's own numbers, wherever version 1 or 2 has them.
  ...['memory/memory.limit_in_bytes', 'cpu/cpu.cfs_quota_us', 'cpu/cpu.shares', 'pids/pids.max'].map(
    (file) => `cat /sys/fs/cgroup/${file} 2>/dev/null`,
  ),
  ...['memory.max', 'cpu.max', 'pids.max'].map((file) => `cat /sys/fs/cgroup/${file} 2>/dev/null`),
  'mount -t tmpfs none /data 2>/dev/null && echo may mount; unshare -U true 2>/dev/null && echo may unshare',
].join('; ');

const SHAPES: Record<string, Partial<GuestSpec['security']>> = {
  'as it comes': {},
  'as a root by name': { user: 'root', readOnlyRoot: true },
  'with a user of the image, a read-only root and a capability': {
    readOnlyRoot: true,
    user: 'worker',
    capabilities: ['CAP_NET_RAW'],
  },
};

const CAPABILITIES_OF_NOBODY = ['Inh', 'Prm', 'Eff', 'Amb'].map((set) => `Cap${set}: ${'0'.repeat(16)}`);

let beds: Record<string, DockerBed>;
beforeAll(async () => {
  beds = { Docker: await makeDockerBed(startDockerd), Podman: await makeDockerBed(startPodman) };
});
afterAll(async () => {
  for (const bed of Object.values(beds)) await bed.close();
});

/** What a guest of this shape prints, its address and the spaces between words left out. */
async function look(bed: DockerBed, runtime: Runtime, security: Partial<GuestSpec['security']>) {
  const folder = (name: string) => join(bed.identity.dataDir, name);
  for (const name of ['data', 'kept']) mkdirSync(folder(name), { recursive: true, mode: 0o777 });
  writeFileSync(join(folder('data'), 'word'), 'a-word\n');
  const spec = await bed.guest({
    ...shell(LOOK),
    env: { GREETING: 'hello' },
    workingDir: '/tmp',
    cpus: 0.5,
    memoryBytes: (48 * MiB) as never,
    pids: 33,
    volumes: [
      { name: 'data', hostPath: folder('data'), mount: '/data', readOnly: true },
      { name: 'kept', hostPath: folder('kept'), mount: '/kept', readOnly: false },
    ],
    security: { readOnlyRoot: false, capabilities: [], userNamespace: false, ...security },
  });
  await run(runtime, spec);
  await eventually('it ends', async () => (await runtime.recover(spec.uid, signal)).state === 'exited');
  const text = await logText(runtime, spec.uid);
  await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
  await bed.leftovers(spec.uid);
  return text
    .replaceAll(spec.network!.address, 'ADDRESS')
    .replace(/\/skerry-\w+\/libpod-\w+/g, '/') // Podman makes no group namespace with version 1
    .replace(/[ \t]+/g, ' ')
    .split('\n');
}

test.each(
  ['Docker', 'Podman'].flatMap((engine) =>
    Object.entries(SHAPES).map(([shape, security]) => ({ engine, shape, security })),
  ),
)('a guest sees the same on $engine as on containerd: $shape', async ({ engine, security }) => {
  const bed = beds[engine]!;
  const runtime = bed.open();
  const containerd = createContainerdRuntime({ identity: bed.identity, images: bed.images, logger: quiet });
  await Promise.all([runtime.start(signal), containerd.start(signal)]);
  try {
    const there = await look(bed, containerd, security);
    expect(there.length).toBeGreaterThan(30); // it did look
    const isWorker = security.user === 'worker';
    expect(there).toContain(isWorker ? '1001 2002' : '0 2002'); // the primary group is among them
    // What no kernel gives to another user than root without ambient capabilities, which Docker has none of.
    if (isWorker) expect(there).toEqual(expect.arrayContaining(CAPABILITIES_OF_NOBODY));
    // What bounds capabilities that it can not get: Podman takes those away, too.
    const bound = engine === 'Podman' && isWorker ? /^CapBnd/ : /^$/;
    const here = await look(bed, runtime, security);
    expect(here.filter((line) => !bound.test(line))).toEqual(there.filter((line) => !bound.test(line)));
  } finally {
    for (const one of [runtime, containerd]) {
      await one.stop();
      await one.destroy(signal);
    }
  }
});
