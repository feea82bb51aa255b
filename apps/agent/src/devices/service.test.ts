// The agent's side of the device program: it is there when the edge has a device, fed from where it left off, begun again
// when it ends. The program is the real one, in this process; broker and flows are stand-ins.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ControllerLink, DeviceReport, FeedItem } from '@skerry/contract';
import { Hub, type HubParts, openControl } from '@skerry/devices';
import { HubClient, type Local } from '@skerry/devices/client';
import { realClock } from '@skerry/reconcile';
import { eventually } from '@skerry/testkit';
import { afterEach, expect, test } from 'vitest';
import type { DeviceProgram } from './program.ts';
import { DeviceService } from './service.ts';

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});
const logger = {
  ...{ debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
};

const parts: HubParts = {
  broker: async ({ listen, hooks }) => ({
    async start() {
      hooks.connected({ project: 'default', device: 'a' }, 'c1', '192.0.2.1');
      return listen;
    },
    publish: async () => undefined,
    disconnect: () => undefined,
    exportSession: async () => undefined,
    counts: () => ({}),
    stop: async () => undefined,
  }),
  flow: async () => ({
    take: async () => undefined,
    configure: async () => undefined,
    counts: () => ({ received: 0, sent: 0, waiting: 0, dropped: 0, refused: 0 }),
    async *tail() {},
    close: async () => undefined,
    remove: async () => undefined,
  }),
  series: async () => ({
    async *call({ verb }) {
      yield verb;
    },
    sink: () => ({ kind: 'series', batch: 1, deliver: async () => undefined, close: async () => undefined }),
    remove: async () => undefined,
    close: async () => undefined,
  }),
};

class Program implements DeviceProgram {
  readonly folder = mkdtempSync(join(tmpdir(), 'skerry-device-service-'));
  running: (() => Promise<void>) | undefined;
  starts = 0;
  wanted = false;
  wasWanted = () => this.wanted;
  async ensure() {
    const socketPath = join(this.folder, 'hub.sock');
    this.wanted = true;
    if (!this.running) {
      this.starts++;
      const hub = new Hub({ folder: join(this.folder, 'devices'), parts, logger });
      await hub.start();
      const control = await openControl(hub, socketPath, logger);
      this.running = async () => {
        this.running = undefined;
        await control.close();
        await hub.stop();
      };
    }
    return new HubClient(socketPath);
  }
  end = async () => this.running?.();
  async retire() {
    this.wanted = false;
    await this.end();
  }
}

/** A controller that has these items, and tells those after a revision; more may come. */
function controllerOf(items: FeedItem[]) {
  const reports: DeviceReport[] = [];
  const since: number[] = [];
  const listeners = new Set<() => void>();
  const link = {
    async *deviceFeed(_: string, from: number, signal: AbortSignal) {
      since.push(from);
      let told = 0;
      let wake = () => {};
      const kick = () => wake();
      listeners.add(kick);
      signal.addEventListener('abort', kick);
      try {
        while (!signal.aborted) {
          const item = items[told];
          if (!item) {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
            continue;
          }
          told++;
          if (!('revision' in item) || item.revision > from) yield item;
        }
      } finally {
        listeners.delete(kick);
      }
    },
    devices: async (_: string, report: DeviceReport) => void reports.push(report),
  } as unknown as ControllerLink;
  const tell = (...more: FeedItem[]) => {
    items.push(...more);
    for (const kick of listeners) kick();
  };
  return { link, tell, reports, since };
}

function begin(program = new Program()) {
  const ending = new AbortController();
  const local: Local = { node: 'here', listen: ['mqtt://127.0.0.1:1'], addresses: [], guests: [] };
  let certified = 0;
  const service = new DeviceService({
    ...{ node: 'here', program, clock: realClock, logger, random: () => 0 },
    local: () => local,
    certify: async () => void certified++,
    onTrouble: () => undefined,
  });
  const running = service.run(ending.signal);
  const stop = async () => {
    service.close();
    ending.abort();
    await running;
  };
  ends.push(async () => {
    await stop();
    await program.end();
    rmSync(program.folder, { recursive: true, force: true });
  });
  return { service, program, stop, certified: () => certified };
}

const put = (revision: number, name: string): FeedItem => ({
  ...{ type: 'put', revision },
  object: {
    ...{ kind: 'device', project: 'default', name, uid: `uid-${name}`, labels: {}, spec: {} },
    credentials: { version: 1 },
  },
});
const project: FeedItem = {
  ...{ type: 'put', revision: 1 },
  object: { kind: 'project', project: 'default', name: 'default', authorities: [], enrolment: 'manual' },
};
const gone = (revision: number, name: string): FeedItem => ({
  ...{ type: 'delete', revision, kind: 'device', project: 'default', name },
});

test('it runs while there is a device, and not without one', async () => {
  const { service, program, certified } = begin();
  const { link, tell, reports } = controllerOf([{ type: 'reset' }, project, { type: 'synced', revision: 1 }]);
  service.attach(link);
  expect(() => service.call({ verb: 'series-list', project: 'default' }, AbortSignal.timeout(1000))).toThrow(
    'no device and no stream',
  );
  expect(certified()).toBe(0);
  tell(put(2, 'a'), { type: 'synced', revision: 2 });
  await eventually('it proves itself', () => certified() > 0);
  await eventually('it is there, and its report came', () =>
    reports.some(({ devices }) => devices.some(({ name, connected }) => name === 'a' && connected)),
  );
  const answers: unknown[] = [];
  for await (const value of service.call(
    { verb: 'series-list', project: 'default' },
    AbortSignal.timeout(5000),
  ))
    answers.push(value);
  expect(answers).toEqual(['series-list']);
  tell(gone(3, 'a'), { type: 'synced', revision: 3 });
  await eventually('it has ended', () => program.running === undefined && !program.wanted);
  tell(put(4, 'b'), { type: 'synced', revision: 4 });
  await eventually('it is there again', () => program.running !== undefined);
});

test('one that ends is begun again and told from where it left off', async () => {
  const { service, program } = begin();
  const { link, since, tell } = controllerOf([
    { type: 'reset' },
    put(2, 'a'),
    { type: 'synced', revision: 5 },
  ]);
  service.attach(link);
  const client = () => new HubClient(join(program.folder, 'hub.sock'));
  const knows = (revision: number) => () =>
    client()
      .standing(AbortSignal.timeout(5000))
      .then(
        (standing) => standing.revision === revision,
        () => false,
      );
  await eventually('it knows all', knows(5));
  await program.end();
  await eventually('it was begun again', () => program.starts === 2);
  await eventually('it listens to what comes', () => since.at(-1) === 5);
  tell(put(6, 'b'), { type: 'synced', revision: 6 });
  await eventually('it knows what came', knows(6));
});

test('it is begun without a controller where it was wanted, and goes on when the agent ends', async () => {
  const program = new Program();
  program.wanted = true;
  const { stop } = begin(program);
  await eventually('it is there', () => program.running !== undefined);
  await stop();
  expect(program.running).toBeDefined();
  expect(existsSync(program.folder)).toBe(true);
});
