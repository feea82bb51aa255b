/** Skerry as the benchmarks use it: the program with a data folder of its own, its API, and a watch that keeps the time. */
import { readFileSync } from 'node:fs';
import { type ClientRequest, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, createClient } from '@skerry/contract';
import type { Instance } from '@skerry/model';
import { type Program, ROOT, startProgram } from '../tests/support/program.ts';

export const HELLO = join(ROOT, 'guests/hello/build/hello.tar');
export const THERMO = join(ROOT, 'guests/pebble/functions/thermo.ts');
export const PEBBLE = join(ROOT, 'guests/pebble/build/pebble.elf');
/** A small virtual machine's disk, and a system container's root file system. */
export const HARBOUR = join(ROOT, 'guests/vm-linux/build/disk.qcow2');
/** The same disk's kernel and initramfs, as files. */
export const HARBOUR_KERNEL = join(ROOT, 'guests/vm-linux/build/vmlinuz');
export const HARBOUR_INITRD = join(ROOT, 'guests/vm-linux/build/initrd');
export const LIGHTHOUSE = join(ROOT, 'guests/system-busybox/build/rootfs.tar');
const LIMIT_MS = 300_000;

export interface Seen {
  readonly atMs: number;
  readonly instance: Instance;
}

export interface Skerry {
  readonly program: Program;
  readonly client: Client;
  readonly socketPath: string;
  /** Resolves with the first sight of an instance that satisfies `is`, also one that was seen before. */
  seen(name: string, is: (instance: Instance) => boolean): Promise<Seen>;
  instances(): Instance[];
  /** Returns the time of the acknowledgement, by performance.now(). */
  apply(manifest: string): Promise<number>;
  /** Resolves when nothing of the workload is left. */
  remove(workload: string): Promise<void>;
  /** Ends and removes everything. Errors: names what is left. */
  purge(): Promise<void>;
}

/** `args`: of `skerry up`. */
export async function startSkerry(args: string[] = []): Promise<Skerry> {
  const program = await startProgram({ args });
  try {
    await program.run('image', 'import', HELLO);
    await program.run('image', 'build', 'thermo', '--from', THERMO);
    await program.run('image', 'import', HARBOUR, '--name', 'harbour:1');
    await program.run('image', 'import', LIGHTHOUSE, '--name', 'lighthouse:1');
    return await connect(program);
  } catch (error) {
    await program.purge();
    throw error;
  }
}

async function connect(program: Program): Promise<Skerry> {
  const socketPath = join(program.dataDir, 'api.sock');
  const client = createClient({ socketPath });
  const known = new Map<string, Instance>();
  const listeners = new Set<() => void>();
  const ending = new AbortController();
  // A power cut may outlast its patience; who waits for something then hears of it.
  let lost: unknown;
  const watching = (async () => {
    for await (const message of client.watch('instance.list', { project: 'default' }, ending)) {
      if (message.type === 'put') known.set(message.object.metadata.name, message.object);
      else if (message.type === 'delete') known.delete(message.name);
      for (const listener of [...listeners]) listener();
    }
  })().catch((error) => {
    if (!ending.signal.aborted) lost = error;
  });

  const until = <T>(what: string, look: () => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        clearTimeout(timer);
        listeners.delete(listener);
        settle();
      };
      const listener = () => {
        const found = look();
        if (found !== undefined) end(() => resolve(found));
      };
      const timer = setTimeout(() => {
        const states = [...known.values()].map(
          ({ metadata, status }) => `${metadata.name} ${status.phase} ${status.reason ?? ''}`,
        );
        const text = `${what} did not come in ${LIMIT_MS / 1000} s: ${states.join('; ')}`;
        end(() => reject(new Error(text, { cause: lost })));
      }, LIMIT_MS);
      listeners.add(listener);
      listener();
    });

  return {
    program,
    client,
    socketPath,
    seen: (name, is) =>
      until(`the awaited state of ${name}`, () => {
        const instance = known.get(name);
        return instance && is(instance) ? { atMs: performance.now(), instance } : undefined;
      }),
    instances: () => [...known.values()],
    async apply(manifest) {
      await client.apply({ body: manifest });
      return performance.now();
    },
    async remove(workload) {
      await client.workload.delete({ project: 'default', name: workload });
      await until(`the end of ${workload}`, () =>
        [...known.values()].some((instance) => instance.spec.workload === workload) ? undefined : true,
      );
      // The workload itself goes a moment after its last instance.
      for (let tries = 0; tries < 500; tries++) {
        const { items } = await client.workload.list({ project: 'default' });
        if (!items.some(({ metadata }) => metadata.name === workload)) return;
        await pause(5);
      }
      throw new Error(`${workload} is still there`);
    },
    async purge() {
      ending.abort();
      await watching;
      await client.close();
      const left = await program.purge();
      if (left.length > 0) throw new Error(`left behind: ${left.join('; ')}`);
    },
  };
}

export interface WorkloadOptions {
  readonly name: string;
  readonly runtime: RuntimeKind;
  readonly replicas?: number;
  readonly cpus: number;
}
type RuntimeKind = 'container' | 'unikernel' | 'vm' | 'system';
const IMAGES: Record<RuntimeKind, string> = {
  container: 'hello:1',
  unikernel: 'thermo',
  vm: 'harbour:1',
  system: 'lighthouse:1',
};
const MEMORY: Record<RuntimeKind, string> = {
  container: '32MiB',
  unikernel: '8MiB',
  vm: '128MiB',
  system: '64MiB',
};

/** A virtual machine whose kernel is loaded in place of firmware and loader, with what the disk's loader would say to it. */
export const DIRECT_BOOT = {
  boot: { kernel: 'harbour-kernel:1', initrd: 'harbour-initrd:1', arguments: 'console=ttyS0 quiet panic=-1' },
};

/** `ports`: whether the workload has one, which makes that it answers a condition of its running. */
export const manifestOf = (
  { name, runtime, replicas = 1, cpus }: WorkloadOptions,
  { ports = true, vm }: { ports?: boolean; vm?: object } = {},
): string =>
  JSON.stringify({
    apiVersion: 'skerry/v1',
    kind: 'Workload',
    metadata: { name },
    spec: {
      runtime,
      image: IMAGES[runtime],
      replicas,
      resources: { cpus, memory: MEMORY[runtime] },
      ...(ports && { ports: [{ name: 'http', port: 8080 }] }),
      stopGrace: '100ms',
      ...(vm && { vm }),
    },
  });

const ARP_COMPLETE = 2;
let neighbours = { atMs: Number.NEGATIVE_INFINITY, addresses: new Set<string>() };

/** Whether the host knows the guest's hardware address: a guest announces it at boot (/proc/net/arp, flag ATF_COM). */
function isOnNetwork(address: string): boolean {
  // Read once for all who ask in the same millisecond: forty of them would else take a processor from the guests.
  if (performance.now() - neighbours.atMs > 1) {
    const rows = readFileSync('/proc/net/arp', 'utf8')
      .split('\n')
      .map((line) => line.split(/\s+/));
    const complete = rows.filter((row) => (Number(row[2]) & ARP_COMPLETE) !== 0);
    neighbours = { atMs: performance.now(), addresses: new Set(complete.map((row) => row[0]!)) };
  }
  return neighbours.addresses.has(address);
}

const ON_NETWORK_LIMIT_MS = 900;
/** Twenty machines that boot at once on two processors take their time. */
const ANSWER_LIMIT_MS = 300_000;

/**
 * Asks until the first whole answer; returns its time by performance.now(). Until the guest is on the network one request
 * waits for it in the host's kernel; from then on a new one goes out every `everyMs`: asking must not cost the guest much.
 */
export async function firstAnswer(address: string, path = '/healthz', everyMs = 4): Promise<number> {
  const giveUpMs = performance.now() + ANSWER_LIMIT_MS;
  let answeredMs: number | undefined;
  const asked = new Set<ClientRequest>();
  const ask = () => {
    const one = request({ host: address, port: 8080, path, agent: false, timeout: 2000 }, (answer) => {
      answer.resume();
      answer.on('end', () => {
        if (answer.statusCode === 200) answeredMs ??= performance.now();
      });
    });
    asked.add(one);
    one.on('error', () => undefined);
    one.on('timeout', () => one.destroy());
    one.on('close', () => asked.delete(one));
    one.end();
  };
  try {
    while (answeredMs === undefined) {
      if (performance.now() > giveUpMs)
        throw new Error(`${address} did not answer in ${ANSWER_LIMIT_MS / 1000} s`);
      ask();
      const untilMs = performance.now() + ON_NETWORK_LIMIT_MS;
      while (answeredMs === undefined && !isOnNetwork(address) && performance.now() < untilMs)
        await pause(Math.max(1, everyMs / 4));
      if (answeredMs === undefined) await pause(everyMs);
    }
    return answeredMs;
  } finally {
    for (const one of asked) one.destroy();
  }
}
