/**
 * An edge of many nodes on one machine: a real `skerry controller`, and simulated agents that joined it over the real
 * protocol, all of them in one process beside it. Removed without a trace afterwards.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createClient } from '@skerry/contract';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { leftoversOf } from './leftovers.ts';
import { skerry, spawnSkerry } from './program.ts';

export interface SimEdge {
  readonly client: Client;
  readonly socketPath: string;
  /** Of the one that runs now. */
  readonly controllerPid: number;
  readonly agentsPid: number;
  /** From the start of the agents until the last one had joined. */
  readonly joinedMs: number;
  /** What is known of every instance, by the controller's own watch. */
  readonly instances: ReadonlyMap<string, Instance>;
  /** Resolves with the time, by performance.now(), at which so many instances satisfied `is`. Errors: after the limit. */
  all(count: number, is: (instance: Instance) => boolean, limitMs: number): Promise<number>;
  /** Resolves when there is no instance any more. Errors: after the limit. */
  gone(limitMs: number): Promise<void>;
  /** SIGKILL to the controller, and another one at the same address with the same data. */
  replaceController(): Promise<void>;
  /** Returns what is left on the machine. */
  end(): Promise<string[]>;
}

async function startAgents(env: Record<string, string>, count: number, limitMs: number) {
  const begunMs = performance.now();
  const agents = spawnSkerry(['agent', '--sim', String(count)], env);
  let said = '';
  let joined: () => void = () => undefined;
  agents.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  agents.stdout!.setEncoding('utf8').on('data', (text: string) => {
    if (text.includes('have joined')) joined();
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      joined = resolve;
      const fail = (why: string) => reject(new Error(`the simulated agents ${why}: ${said}`));
      agents.once('exit', (code) => fail(`ended with ${code}`));
      timer = setTimeout(() => fail(`did not join in ${limitMs} ms`), limitMs);
    });
  } catch (error) {
    agents.kill('SIGKILL');
    throw error;
  } finally {
    clearTimeout(timer);
  }
  return { agents, joinedMs: performance.now() - begunMs };
}

async function ended(agents: ChildProcess): Promise<void> {
  if (agents.exitCode !== null || agents.signalCode !== null) return;
  const exit = once(agents, 'exit');
  agents.kill('SIGKILL'); // they are simulated: nothing outlives them
  await exit;
}

/** Where agents find the controller: the first part of what a token says. */
async function addressIn(client: Client): Promise<string> {
  const { id, token } = await client.node.token({ body: {} });
  await client.node.revoke({ id });
  const [server] = JSON.parse(Buffer.from(token.slice('skerry-join-'.length), 'base64url').toString());
  return server;
}

/** `joinLimitMs`: how long the agents may take to join. */
export async function startSimEdge(
  count: number,
  { joinLimitMs = 60_000 }: { readonly joinLimitMs?: number } = {},
): Promise<SimEdge> {
  const dataDir = mkdtempSync(join(tmpdir(), 'skerry-sim-'));
  const env = { SKERRY_DATA: dataDir, SKERRY_SERVER: '', NO_COLOR: '1' };
  const run = (...args: string[]) => skerry(args, { env });
  const socketPath = join(dataDir, 'api.sock');
  const startController = async (listen: string) => {
    const ran = await run('controller', '--listen', listen, '--detach');
    if (ran.code !== 0) throw new Error(`skerry controller ended with ${ran.code}: ${ran.stderr}`);
  };
  let agents: ChildProcess | undefined;
  let client: Client | undefined;
  const ending = new AbortController();
  let watching: Promise<void> = Promise.resolve();
  const end = async () => {
    ending.abort();
    await watching;
    await client?.close();
    if (agents) await ended(agents);
    const { id } = JSON.parse(readFileSync(join(dataDir, 'identity.json'), 'utf8')) as { id: string };
    const ran = await run('down', '--purge', '--yes');
    const left = leftoversOf(id, dataDir);
    if (ran.code !== 0) left.unshift(`skerry down --purge ended with ${ran.code}: ${ran.stderr}`);
    rmSync(dataDir, { recursive: true, force: true });
    return left;
  };
  try {
    await startController('127.0.0.1:0');
    client = createClient({ socketPath });
    const address = await addressIn(client);
    const started = await startAgents(env, count, joinLimitMs);
    agents = started.agents;
    const instances = new Map<string, Instance>();
    const listeners = new Set<(name: string, instance: Instance | undefined) => void>();
    const watch = client.watch('instance.list', { project: 'default' }, ending);
    watching = (async () => {
      for await (const message of watch) {
        if (message.type !== 'put' && message.type !== 'delete') continue;
        const object = message.type === 'put' ? message.object : undefined;
        const name = message.type === 'put' ? message.object.metadata.name : message.name;
        if (object) instances.set(name, object);
        else instances.delete(name);
        for (const listener of [...listeners]) listener(name, object);
      }
    })().catch((error) => {
      if (!ending.signal.aborted) throw error;
    });
    const pidOfController = () => {
      const hold = JSON.parse(readFileSync(join(dataDir, 'skerry.pid'), 'utf8')) as {
        process: { pid: number };
      };
      return hold.process.pid;
    };
    return {
      gone: async (withinMs) =>
        void (await eventually('no instance is left', () => instances.size === 0, { withinMs })),
      ...{ client, socketPath, instances, joinedMs: started.joinedMs, end },
      get controllerPid() {
        return pidOfController();
      },
      async replaceController() {
        const victim = pidOfController();
        process.kill(victim, 'SIGKILL');
        await eventually('it is gone', () => !existsSync(`/proc/${victim}/fd/0`));
        await startController(address);
      },
      agentsPid: agents.pid!,
      all: (wanted, is, limitMs) =>
        new Promise((resolve, reject) => {
          // Counted as they come: looking at all for each change of thousands would cost more than what is measured.
          const satisfied = new Set<string>();
          const timer = setTimeout(() => {
            listeners.delete(look);
            reject(new Error(`${satisfied.size} of ${wanted} instances came to it in ${limitMs} ms`));
          }, limitMs);
          const look = (name: string, instance: Instance | undefined) => {
            if (instance && is(instance)) satisfied.add(name);
            else satisfied.delete(name);
            if (satisfied.size < wanted) return;
            clearTimeout(timer);
            listeners.delete(look);
            resolve(performance.now());
          };
          listeners.add(look);
          for (const [name, instance] of instances) look(name, instance);
        }),
    };
  } catch (error) {
    await end();
    throw error;
  }
}
