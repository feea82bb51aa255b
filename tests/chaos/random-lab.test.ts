// Random networks, random faults, random requests, in labs with real agents, guests and packets. After every step: a single
// instance does not run twice, what was acknowledged is there, what can be reached is served, and nobody's guest was touched
// without need; after all is healed everything agrees; at the end nothing is left.
// A seed is printed and repeats a run; the suite takes one that is always the same, LAB_SEED=any another one each time.
//   LAB_SEED=123 LAB_STEPS=200 npx vitest run tests/chaos/random-lab.test.ts
import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, createClient } from '@skerry/contract';
import { commandLine, processesWithArgument } from '@skerry/host';
import {
  changeLink,
  crashNode,
  cutLink,
  execWords,
  healLink,
  labFolder,
  moveClient,
  startNode,
  type VerbOptions,
} from '@skerry/lab';
import { eventually } from '@skerry/testkit';
import { expect, test } from 'vitest';
import { type RunningLab, startLab } from '../support/lab.ts';
import { ROOT } from '../support/program.ts';
import { seeded } from '../support/random.ts';
import { type DrawnLab, drawLab, guest, guestsMarked, sitesFrom } from '../support/random-lab.ts';

const STEPS = Number(process.env.LAB_STEPS ?? 12);
const ASKED = process.env.LAB_SEED ?? '777';
const SEEDS = [ASKED === 'any' ? Math.floor(Math.random() * 2 ** 31) : Number(ASKED)];
/**
 * A cut is noticed within 30 s of silence; the node is lost 2 s later, its guests are replaced after 5 s more;
 * then they have to start, on a machine that has other work.
 */
const SERVED_WITHIN_MS = 75_000;
const AGREE_WITHIN_MS = 60_000;

interface Wish {
  readonly greeting: string;
  readonly replicas: number;
}

class RandomEdge {
  readonly #chance: () => number;
  readonly #drawn: DrawnLab;
  readonly #mark: string;
  readonly #lab: RunningLab;
  readonly #verb: VerbOptions;
  readonly #client: Client;
  readonly #watch: NodeJS.Timeout;
  readonly trace: string[] = [];
  /** What was acknowledged; more than one where an answer was lost. Undefined: deleted. */
  readonly #wishes = new Map<string, (Wish | undefined)[]>();
  readonly #at = new Map<string, number>();
  readonly #cut = new Set<string>();
  readonly #half = new Set<string>();
  readonly #lossy = new Set<string>();
  readonly #off = new Set<string>();
  /** First processes of guests that nobody has a reason to touch. */
  readonly #steady = new Map<string, number>();
  #version = 0;
  #broken: string | undefined;

  constructor(chance: () => number, drawn: DrawnLab, mark: string, lab: RunningLab) {
    this.#chance = chance;
    this.#drawn = drawn;
    this.#mark = mark;
    this.#lab = lab;
    const native = join(ROOT, 'packages/host/native/build');
    this.#verb = {
      folder: labFolder(join(lab.folder, '..'), lab.name),
      programs: {
        ...{ link: join(native, 'skerry-link'), machine: join(native, 'skerry-machine') },
        skerry: [process.execPath, join(ROOT, 'dist/skerry.mjs')],
      },
      signal: new AbortController().signal,
    };
    this.#client = createClient({ socketPath: join(lab.folder, 'machines/controller/data/api.sock') });
    for (const [, client, at] of drawn.text.matchAll(
      /"kind":"Client","metadata":\{"name":"(c\d)"\},"spec":\{"attachedTo":"t(\d)"/g,
    ))
      this.#at.set(client!, Number(at));
    for (let site = 0; site < drawn.sites; site++)
      this.#wishes.set(`at${site}`, [{ greeting: '0', replicas: 1 }]);
    this.#wishes.set('one', [{ greeting: '0', replicas: 1 }]);
    this.#wishes.set('many', [{ greeting: '0', replicas: 2 }]);
    this.#watch = setInterval(() => this.#look(), 100);
  }

  async end(): Promise<string[]> {
    clearInterval(this.#watch);
    await this.#client.close();
    const left = await this.#lab.down();
    return [...left, ...[...guestsMarked(this.#mark)].map((one) => `guest ${one.join(' ')}`)];
  }

  #below(most: number): number {
    return Math.floor(this.#chance() * most);
  }
  #one<T>(all: readonly T[]): T {
    return all[this.#below(all.length)]!;
  }

  /** On real processes, ten times a second. */
  #look(): void {
    const guests = guestsMarked(this.#mark);
    const ones = guests.get('one') ?? [];
    if (ones.length > 1) this.#broken ??= `the single instance runs ${ones.length} times: ${ones.join(', ')}`;
    for (const [name, pid] of this.#steady) {
      const now = guests.get(name) ?? [];
      if (now.length !== 1 || now[0] !== pid)
        this.#broken ??= `${name} ran as ${pid} and nobody touched it; now: ${now.join(', ') || 'nothing'}`;
    }
  }

  /** The program on a machine, killed alone: its guests are left. Where it is started again it finds them. */
  async #killProgram(machine: string): Promise<void> {
    const ref = processesWithArgument(this.#verb.folder.dataDir(machine)).find((one) =>
      commandLine(one).some((word) => word === 'agent' || word === 'controller'),
    );
    if (ref) process.kill(ref.pid, 'SIGKILL');
  }

  async #request(name: string, next: Wish | undefined, during?: () => Promise<void>): Promise<void> {
    const asked = next
      ? this.#client.apply({
          body: JSON.stringify(
            guest(this.#mark, name, { replicas: next.replicas, env: { GREETING: next.greeting } }),
          ),
        })
      : this.#client.workload.delete({ project: 'default', name });
    const answered = asked.then(
      () => true,
      () => false,
    );
    await during?.();
    const before = this.#wishes.get(name) ?? [undefined];
    this.#wishes.set(name, (await answered) ? [next] : [...before, next]);
  }

  readonly #steps: Readonly<Record<string, () => Promise<string>>> = {
    cut: async () => {
      const { name } = this.#one(this.#drawn.links);
      await cutLink(this.#verb, name);
      this.#half.delete(name);
      this.#cut.add(name);
      return name;
    },
    'half-open': async () => {
      const { name, between } = this.#one(this.#drawn.links);
      const from = `s${this.#one(between)}`;
      await cutLink(this.#verb, name, from);
      this.#cut.delete(name);
      this.#half.add(name);
      return `${name} from ${from}`;
    },
    heal: async () => {
      const name = this.#one([...this.#cut, ...this.#half, this.#drawn.links[0]!.name]);
      await healLink(this.#verb, name);
      this.#cut.delete(name);
      this.#half.delete(name);
      return name;
    },
    flap: async () => {
      const { name } = this.#one(this.#drawn.links);
      for (let i = 0; i < 5; i++) {
        await cutLink(this.#verb, name);
        await healLink(this.#verb, name);
      }
      this.#cut.delete(name);
      this.#half.delete(name);
      return name;
    },
    loss: async () => {
      const { name } = this.#one(this.#drawn.links);
      await changeLink(this.#verb, name, { loss: 0.2 });
      this.#lossy.add(name);
      return name;
    },
    'power cut': async () => {
      const node = this.#below(this.#drawn.sites);
      this.#steady.delete(`at${node}`);
      await crashNode(this.#verb, `n${node}`);
      this.#off.add(`n${node}`);
      return `n${node}`;
    },
    'power back': async () => {
      const [name] = this.#off;
      if (!name) return 'none was off';
      await startNode(this.#verb, name);
      this.#off.delete(name);
      return name;
    },
    'agent killed': async () => {
      const on = [...Array(this.#drawn.sites).keys()].map((n) => `n${n}`).filter((n) => !this.#off.has(n));
      if (on.length === 0) return 'all are off';
      const name = this.#one(on);
      await this.#killProgram(name);
      await startNode(this.#verb, name);
      return name;
    },
    'controller killed': async () => {
      await this.#killProgram('controller');
      if (!this.#off.has('controller')) await startNode(this.#verb, 'controller');
      return '';
    },
    'controller off': async () => {
      await crashNode(this.#verb, 'controller');
      this.#off.add('controller');
      return '';
    },
    'guest killed': async () => {
      const name = this.#one([...this.#wishes.keys()]);
      const pid = guestsMarked(this.#mark).get(name)?.[0];
      if (pid === undefined) return `${name} runs nowhere`;
      this.#steady.delete(name);
      process.kill(pid, 'SIGKILL');
      return `${name} (${pid})`;
    },
    move: async () => {
      const client = this.#one(this.#drawn.clients);
      const to = this.#below(this.#drawn.sites);
      await moveClient(this.#verb, client, `t${to}`);
      this.#at.set(client, to);
      return `${client} to t${to}`;
    },
    change: async () => {
      const next = { greeting: String(++this.#version), replicas: 1 + this.#below(3) };
      await this.#request('many', next);
      return JSON.stringify(next);
    },
    create: async () => {
      const name = `extra${this.#below(2)}`;
      await this.#request(name, { greeting: String(++this.#version), replicas: 1 });
      return name;
    },
    delete: async () => {
      const name = `extra${this.#below(2)}`;
      await this.#request(name, undefined);
      return name;
    },
    'controller killed midway': async () => {
      const next = { greeting: String(++this.#version), replicas: 2 };
      await this.#request('many', next, async () => {
        await pause(40 * this.#chance()); // a moment of its own each time is the point
        await this.#killProgram('controller');
      });
      if (!this.#off.has('controller')) await startNode(this.#verb, 'controller');
      return JSON.stringify(next);
    },
  };

  async step(): Promise<void> {
    const name = this.#one(Object.keys(this.#steps));
    this.trace.push(name);
    const begun = performance.now();
    const did = await this.#steps[name]!();
    const stepMs = Math.round(performance.now() - begun);
    this.trace[this.trace.length - 1] = `${name} ${did} (${stepMs} ms)`;
    await this.#acknowledged();
    await this.#served();
    this.sound();
    this.trace[this.trace.length - 1] += ` checked in ${Math.round(performance.now() - begun) - stepMs} ms`;
  }

  sound(): void {
    this.#look();
    if (this.#broken) throw new Error(this.#broken);
  }

  /** Every change that was answered is there; one whose answer was lost was done whole, or not at all. */
  async #acknowledged(): Promise<void> {
    if (this.#off.has('controller')) return;
    const { items } = await this.#client.workload.list({ project: 'default' });
    for (const [name, wishes] of this.#wishes) {
      const stored = items.find(({ metadata }) => metadata.name === name && !metadata.deletedAt);
      const found = wishes.findIndex((wish) =>
        wish
          ? stored?.spec.env?.GREETING === wish.greeting && (stored.spec.replicas ?? 1) === wish.replicas
          : !stored,
      );
      if (found < 0)
        throw new Error(`${name} is ${JSON.stringify(stored?.spec)}; asked for: ${JSON.stringify(wishes)}`);
      this.#wishes.set(name, [wishes[found]]);
    }
  }

  #asks(client: string, url: string): Promise<string> {
    const words = ['curl', '-s', '-f', '-m', '2', url];
    const [file, args] = execWords(this.#verb.folder, client, words);
    return new Promise((resolve, reject) =>
      execFile(file, args, { timeout: 10_000 }, (error, stdout) =>
        error ? reject(new Error(`curl ended with ${error.code}`)) : resolve(stdout),
      ),
    );
  }

  #answers(client: string, name: string, greeting?: string): Promise<unknown> {
    const from = `${client} at t${this.#at.get(client)}`;
    return eventually(
      `${from} is served ${name}${greeting === undefined ? '' : ` ${greeting}`}`,
      async () => {
        this.sound();
        const url = `http://${name}.default.edge:8080`;
        if (name === 'fn') return (await this.#asks(client, `${url}/healthz`)) !== undefined;
        const said = await this.#asks(client, `${url}/cgi-bin/whoami`);
        if (said.startsWith(`${name}-`) && (greeting === undefined || said.endsWith(` ${greeting}\n`)))
          return true;
        throw new Error(said);
      },
      { withinMs: SERVED_WITHIN_MS, everyMs: 100 },
    );
  }

  /** Whoever can reach a guest by the network as it is now is led to it, with a controller or without. */
  async #served(): Promise<void> {
    const { sites, controllerSite } = this.#drawn;
    const on = (site: number) => !this.#off.has(`n${site}`);
    const checks: Promise<unknown>[] = [];
    for (const [client, at] of this.#at) {
      const near = this.#half.size > 0 ? new Set([at]) : sitesFrom(this.#drawn, at, this.#cut);
      for (let site = 0; site < sites; site++)
        if (near.has(site) && on(site) && (this.#half.size === 0 || on(at)))
          checks.push(this.#answers(client, `at${site}`));
      const led = this.#half.size === 0 && near.has(controllerSite) && !this.#off.has('controller');
      if (led && [...near].some(on))
        for (const name of ['many', 'fn']) checks.push(this.#answers(client, name));
    }
    await Promise.all(checks);
    const guests = guestsMarked(this.#mark);
    for (let site = 0; site < sites; site++) {
      const [pid] = guests.get(`at${site}`) ?? [];
      const seen = [...this.#at.values()].some((at) => at === site);
      if (pid !== undefined && seen && on(site) && !this.#steady.has(`at${site}`))
        this.#steady.set(`at${site}`, pid);
    }
  }

  /** Everything is whole again: all that was asked for runs, as often as it was asked for, and is served everywhere. */
  async calm(): Promise<void> {
    for (const name of [...this.#cut, ...this.#half]) await healLink(this.#verb, name);
    for (const name of this.#lossy) await changeLink(this.#verb, name, { loss: 0 });
    for (const name of this.#off) await startNode(this.#verb, name);
    for (const all of [this.#cut, this.#half, this.#lossy, this.#off]) all.clear();
    this.trace.push('all is healed');
    const begun = performance.now();
    await this.#acknowledged();
    const wished = [...this.#wishes].flatMap(([name, [wish]]) => (wish ? [[name, wish] as const] : []));
    const count = 1 + wished.reduce((sum, [, { replicas }]) => sum + replicas, 0); // and the function
    await eventually(
      'all that was asked for runs, and nothing else',
      async () => {
        this.sound();
        const { items } = await this.#client.instance.list({ project: 'default' });
        const each = items.map(({ metadata, spec, status }) =>
          [metadata.name, spec.node, status.phase, status.health, status.reason].join(' '),
        );
        const isCalm = items.every(
          ({ metadata, status }) =>
            status.phase === 'running' &&
            status.health === 'healthy' &&
            status.observedGeneration === metadata.generation,
        );
        if (!isCalm || items.length !== count) throw new Error(`${count} wanted: ${each.join('; ')}`);
        const guests = guestsMarked(this.#mark);
        const have = Object.fromEntries([...guests].map(([name, pids]) => [name, pids.length]));
        expect(have).toEqual(Object.fromEntries(wished.map(([name, { replicas }]) => [name, replicas])));
        return true;
      },
      { withinMs: AGREE_WITHIN_MS, everyMs: 200 },
    );
    for (const client of this.#drawn.clients)
      await Promise.all([
        this.#answers(client, 'fn'),
        ...wished.map(([name, { greeting }]) => this.#answers(client, name, greeting)),
      ]);
    this.sound();
    for (const [name, [pid]] of guestsMarked(this.#mark))
      if (name.startsWith('at')) this.#steady.set(name, pid!);
    this.trace[this.trace.length - 1] += `, and all agrees after ${Math.round(performance.now() - begun)} ms`;
  }
}

test.each(SEEDS)(
  `a random lab under ${STEPS} random faults and requests keeps its promises, LAB_SEED=%d`,
  async (seed) => {
    console.log(`LAB_SEED=${seed} LAB_STEPS=${STEPS}`);
    const chance = seeded(seed);
    const mark = `random-${process.pid}-${seed}`;
    const parent = mkdtempSync(join(tmpdir(), 'skerry-random-lab-'));
    const drawn = drawLab(chance, 'random', mark);
    const file = join(parent, 'random.yaml');
    writeFileSync(file, drawn.text);
    const edge = new RandomEdge(chance, drawn, mark, await startLab(file, join(parent, 'labs')));
    try {
      await edge.calm();
      for (let step = 1; step <= STEPS; step++) {
        await edge.step();
        if (step % 8 === 0 || step === STEPS) await edge.calm();
      }
    } catch (cause) {
      const lines = [`LAB_SEED=${seed}: ${(cause as Error).message}`, drawn.text, ...edge.trace];
      throw new Error(lines.join('\n'), { cause });
    } finally {
      expect(await edge.end()).toEqual([]);
    }
    console.log([`${drawn.sites} sites, ${drawn.links.length} links`, ...edge.trace].join('\n'));
  },
  120_000 + STEPS * 90_000,
);
