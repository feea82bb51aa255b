/** A node for tests: does at once, in memory, what a real agent does with processes. Talks to the controller's link only. */
import type { ControllerLink, DesiredState, InstanceReport, NodeLink, NodeReport } from '@skerry/contract';
import { type Instance, SkerryError } from '@skerry/model';

const MIB = 1024 * 1024;

export interface FakeNode {
  readonly link: NodeLink;
  /** All desired states that were seen, in order. */
  readonly seen: DesiredState[];
  /** An instance of this name is reported so, rather than as running. */
  readonly phases: Map<string, Instance['status']['phase']>;
  /** Deleted instances and volumes are not reported absent while this is set. */
  holdRemoval: boolean;
  /** Reports the last desired state again, as a whole compare would. */
  report(): Promise<void>;
  stop(): Promise<void>;
}

export interface FakeNodeOptions {
  readonly name?: string;
  readonly subnet?: string;
  readonly subnet6?: string;
  readonly underlay?: string;
  readonly memoryMiB?: number;
  readonly cpus?: number;
  readonly overheadBytes?: NodeReport['overheadBytes'];
}

export function nodeReport(options: FakeNodeOptions = {}): NodeReport {
  return {
    name: options.name ?? 'local',
    status: {
      arch: 'amd64',
      version: '0.1.0',
      kernel: '6.1',
      subnet: options.subnet ?? '10.90.0.0/24',
      ...(options.subnet6 !== undefined && { subnet6: options.subnet6 }),
      ...(options.underlay !== undefined && { underlay: options.underlay }),
      capacity: {
        cpus: options.cpus ?? 4,
        memoryBytes: (options.memoryMiB ?? 8192) * MIB,
        diskBytes: 100_000 * MIB,
      },
      findings: [{ name: 'container', ok: true, level: 'ok', text: 'works' }],
    },
    overheadBytes: options.overheadBytes ?? { container: 4 * MIB, unikernel: 12 * MIB, sim: 0 },
  };
}

export async function startFakeNode(
  controller: ControllerLink,
  options: FakeNodeOptions = {},
): Promise<FakeNode> {
  const report = nodeReport(options);
  await controller.register(report);
  const abort = new AbortController();
  const seen: DesiredState[] = [];
  const phases = new Map<string, Instance['status']['phase']>();
  const node = { seen, phases, holdRemoval: false, link: fakeLink() };

  const answer = async (desired: DesiredState) => {
    await controller.report(report.name, {
      generation: desired.generation,
      instances: desired.instances.flatMap((one): InstanceReport[] => {
        if (one.deleted) return node.holdRemoval ? [] : [{ uid: one.uid, state: 'absent' }];
        const phase = phases.get(one.name) ?? one.spec.run;
        return [
          {
            uid: one.uid,
            state: 'present',
            status: {
              phase,
              observedGeneration: one.generation,
              health: phase === 'running' ? 'healthy' : 'unknown',
              restartCount: 0,
              exits: [],
              ...(phase === 'failed' && { reason: 'it was told to fail' }),
            },
            events:
              phase === 'failed'
                ? [{ atMs: 1000, type: 'warning', reason: 'Failed', message: 'it failed' }]
                : [],
          },
        ];
      }),
      volumes: desired.volumes
        .filter((volume) => !(volume.deleted && node.holdRemoval))
        .map(({ uid, deleted }) => ({ uid, state: deleted ? 'absent' : 'ready' })),
    });
  };
  const follow = async () => {
    for await (const desired of controller.desired(report.name, abort.signal)) {
      seen.push(desired);
      await answer(desired);
    }
  };
  const running = follow();
  return Object.assign(node, {
    report: () => answer(seen.at(-1)!),
    async stop() {
      abort.abort();
      await running;
    },
  });
}

/** Answers with what was asked, so that a test sees that it arrived. */
function fakeLink(): NodeLink {
  return {
    async *logs(_uid, options, signal) {
      for (let i = 0; i < (options.tail ?? 3); i++) yield { atMs: i, stream: 'stdout', text: `line ${i}` };
      if (options.follow)
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    },
    stats: async () => ({ cpuMs: 12, memoryBytes: 34 }),
    async exec(_uid, request) {
      if (request.command[0] === 'missing')
        throw new SkerryError('exec_failed', '"missing" is not in the image');
      const echo = channel();
      let exited!: (code: number) => void;
      const exit = new Promise<number>((resolve) => {
        exited = resolve;
      });
      echo.push(Buffer.from(`${request.command.join(' ')} ${request.terminal} ${request.columns ?? '-'}\n`));
      const output = (async function* () {
        for await (const data of echo.items) yield { stream: 'stdout' as const, data };
        yield { stream: 'stderr' as const, data: Buffer.from('bye') };
      })();
      return {
        output,
        write: async (data) => echo.push(Buffer.from(data)),
        resize: async (columns, rows) => echo.push(Buffer.from(`${columns}x${rows}`)),
        closeInput: async () => {
          echo.end();
          exited(7);
        },
        exit,
        kill: async () => {
          echo.end();
          exited(137);
        },
      };
    },
    async console(_uid, signal) {
      const echo = channel();
      echo.push(Buffer.from('login: '));
      signal.addEventListener('abort', () => echo.end());
      return { output: echo.items, write: async (data) => echo.push(Buffer.from(data)) };
    },
    ...fakeVerbs(),
    probe: async () => [{ name: 'fresh', ok: true, level: 'ok', text: 'probed now' }],
  };
}

function channel() {
  const queue: Buffer[] = [];
  let ended = false;
  let wake = (): void => undefined;
  async function* items() {
    for (;;) {
      for (let next = queue.shift(); next; next = queue.shift()) yield next;
      if (ended) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  return {
    items: items(),
    push(data: Buffer) {
      queue.push(data);
      wake();
    },
    end() {
      ended = true;
      wake();
    },
  };
}

/** One guest's worth of snapshots, and a size that can not be had. */
function fakeVerbs(): Omit<NodeLink, 'logs' | 'stats' | 'exec' | 'console' | 'probe'> {
  const snapshots = new Map<
    string,
    { name: string; takenAtMs: number; sizeBytes: number; withMemory: boolean; frozen: boolean }
  >();
  const known = (name: string) => {
    if (!snapshots.has(name)) throw new SkerryError('not_found', `there is no snapshot "${name}"`);
  };
  return {
    pause: async () => undefined,
    resume: async () => undefined,
    snapshots: async () => [...snapshots.values()],
    async takeSnapshot(_uid, name) {
      const taken = { name, takenAtMs: 1, sizeBytes: 2, withMemory: true, frozen: false };
      snapshots.set(name, taken);
      return taken;
    },
    restoreSnapshot: async (_uid, name) => known(name),
    removeSnapshot: async (_uid, name) => void snapshots.delete(name),
    async growDisk(_uid, sizeBytes) {
      if (sizeBytes < 1024 ** 3) throw new SkerryError('request_invalid', 'it never shrinks');
    },
    setMemory: async () => undefined,
    display: async (uid) => `/run/${uid}/vnc`,
    screenshot: async () => Buffer.from('png'),
  };
}
