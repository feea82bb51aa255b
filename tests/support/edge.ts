/** A controller (`c`) and nodes beside it on this machine, each with a data folder of its own, as a user starts them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive, type ProcessRef } from '@skerry/host';
import type { Instance, Node } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { leftoversOf } from './leftovers.ts';
import { type Ran, ROOT, skerry } from './program.ts';

const SET_CLOCK = ['--import', join(ROOT, 'tests/support/set-clock.mjs')];

export interface EdgeOptions {
  readonly nodes: readonly string[];
  /** How long an agent may be away before its node is lost. */
  readonly lostAfter: string;
  /** How far each node's wall clock is off; it can be set again later. */
  readonly clocksMs?: Readonly<Record<string, number>>;
}

export class Edge {
  readonly #options: EdgeOptions;
  readonly #folder = mkdtempSync(join(tmpdir(), 'skerry-edge-'));
  #port = '0';

  constructor(options: EdgeOptions) {
    this.#options = options;
  }

  dirOf(name: string): string {
    return join(this.#folder, name);
  }

  try(name: string, args: readonly string[], input?: string, node?: readonly string[]): Promise<Ran> {
    const env = { SKERRY_DATA: this.dirOf(name), SKERRY_SERVER: '', NO_COLOR: '1' };
    return skerry(args, { env, ...(input === undefined ? {} : { input }), ...(node ? { node } : {}) });
  }

  async run(
    name: string,
    args: readonly string[],
    input?: string,
    node?: readonly string[],
  ): Promise<string> {
    const ran = await this.try(name, args, input, node);
    if (ran.code !== 0) throw new Error(`${args.join(' ')} ended with ${ran.code}: ${ran.stderr}`);
    return ran.stdout;
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.run('c', [...args, '--output', 'json'])) as T;
  }

  instances(): Promise<Instance[]> {
    return this.json<Instance[]>('workload', 'instances');
  }

  /** The controller and all nodes, joined. */
  async begin(): Promise<void> {
    await this.start('c');
    const token = async (name: string) => (await this.run('c', ['node', 'token', '--name', name])).trim();
    const [server] = JSON.parse(
      Buffer.from((await token('probe')).slice('skerry-join-'.length), 'base64url').toString(),
    ) as [string];
    this.#port = new URL(`https://${server}`).port;
    for (const name of this.#options.nodes) {
      const offMs = this.#options.clocksMs?.[name];
      if (offMs !== undefined) this.setClock(name, offMs);
      await this.run(
        name,
        ['agent', '--join', await token(name), '--detach'],
        undefined,
        this.#nodeArgs(name),
      );
    }
    await this.ready();
  }

  start(name: string): Promise<string> {
    const { lostAfter } = this.#options;
    const args =
      name === 'c'
        ? ['controller', '--listen', `127.0.0.1:${this.#port}`, '--lost-after', lostAfter]
        : ['agent'];
    return this.run(name, [...args, '--detach'], undefined, this.#nodeArgs(name));
  }

  setClock(name: string, offMs: number): void {
    writeFileSync(`${this.dirOf(name)}.clock`, String(offMs));
  }

  programOf(name: string): ProcessRef {
    const text = readFileSync(join(this.dirOf(name), 'skerry.pid'), 'utf8');
    return (JSON.parse(text) as { process: ProcessRef }).process;
  }

  /** SIGKILL to the program itself; guests are left alone. */
  async kill(name: string): Promise<void> {
    const program = this.programOf(name);
    process.kill(program.pid, 'SIGKILL');
    await eventually('it is gone', () => !isAlive(program));
  }

  ready(): Promise<unknown> {
    return eventually('all nodes are ready', async () => {
      const nodes = await this.json<Node[]>('node', 'list');
      return (
        nodes.length === this.#options.nodes.length && nodes.every(({ status }) => status.phase === 'ready')
      );
    });
  }

  /** Ends all, with its guests and data. Returns what is left. */
  async end(): Promise<string[]> {
    const left: string[] = [];
    for (const name of [...this.#options.nodes, 'c']) {
      const text = readFileSync(join(this.dirOf(name), 'identity.json'), 'utf8');
      await this.run(name, ['down', '--purge', '--yes']);
      left.push(...leftoversOf((JSON.parse(text) as { id: string }).id, this.dirOf(name)));
    }
    rmSync(this.#folder, { recursive: true, force: true });
    return left;
  }

  #nodeArgs(name: string): readonly string[] | undefined {
    return this.#options.clocksMs?.[name] === undefined ? undefined : SET_CLOCK;
  }
}
