/** Agents on a world, for tests: made, driven to rest by the world's own clock, killed and made again. */
import type { Id } from '@skerry/model';
import { type Agent, createAgent } from '../agent.ts';
import type { AgentOptions, Logger, Tuning } from '../ports.ts';
import { FakeController } from './fake-controller.ts';
import { Life } from './life.ts';
import { World } from './world.ts';

const noLog = () => undefined;
const quiet: Logger = { debug: noLog, info: noLog, warn: noLog, error: noLog };

export const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

export interface BootOptions {
  readonly fuse?: number;
  readonly connected?: boolean;
  readonly tuning?: Partial<Tuning>;
  readonly reachable?: (node: string) => boolean;
  readonly bringImage?: AgentOptions['bringImage'];
  readonly collectImages?: AgentOptions['collectImages'];
  readonly previousLogs?: AgentOptions['previousLogs'];
}

export class Bench {
  readonly world = new World();
  readonly controller = new FakeController();
  life = new Life();
  agent: Agent | undefined;

  /** A new agent on the same world; what was there before is cut off without a word. */
  boot(options: BootOptions = {}): Agent {
    this.life.kill();
    const life = new Life(options.fuse);
    this.life = life;
    const { world } = this;
    this.agent = createAgent({
      nodeName: 'node',
      ledger: life.wrap(world.store),
      runtimes: [world.runtime(life)],
      network: world.network(life),
      volumes: world.volumeStore(life),
      images: world.imageContent(),
      ...(options.reachable && { reachable: options.reachable }),
      ...(options.bringImage && { bringImage: options.bringImage }),
      ...(options.collectImages && { collectImages: options.collectImages }),
      ...(options.previousLogs && { previousLogs: options.previousLogs }),
      machine: async () => ({
        ...{ arch: 'x86_64', version: '0', kernel: '6' },
        capacity: { cpus: 2, memoryBytes: 1e9, diskBytes: 1e9 },
      }),
      leases: world.leaseHost(life),
      logger: quiet,
      clock: life.clock(world.clock),
      ...(options.connected === false ? {} : { controller: this.controller.link(life) }),
      tuning: { random: () => 0, healthProbe: async () => ({ ok: true }), ...options.tuning },
    });
    void this.agent.start(new AbortController().signal).catch(() => undefined);
    return this.agent;
  }

  /** Goes on, from timer to timer, until `reached` holds; fails after `limitMs` of the world's time. */
  async until(reached: () => boolean, what: string, limitMs = 120_000): Promise<void> {
    const { clock } = this.world;
    const endMs = clock.monotonicMs() + limitMs;
    while (!reached()) {
      await turns(12);
      if (reached()) return;
      if (clock.monotonicMs() >= endMs) throw new Error(`not reached: ${what}\n${this.describe()}`);
      await clock.advance(Math.min(clock.nextInMs ?? 250, 250));
    }
  }

  /** Until no timer waits: only where no health check keeps one going. */
  async rest(): Promise<void> {
    for (await turns(40); this.world.clock.nextInMs !== undefined; await turns(40)) {
      await this.world.clock.advance(this.world.clock.nextInMs);
    }
  }

  phase(uid: Id<'instance'>): string | undefined {
    return this.controller.statuses.get(uid)?.phase;
  }

  describe(): string {
    const guests = [...this.world.guests].map(([uid, guest]) => [uid, guest.state]);
    return JSON.stringify({
      known: this.agent?.instances(),
      guests,
      attached: [...this.world.attachments.keys()],
    });
  }
}
