/**
 * What the kernel learns of the machines beside this one: its neighbour table (ip-neighbour(8), RFC 4861 for IPv6), told as it
 * changes by one resident `ip monitor neigh`, which runs without rights and ends with us. Sends nothing.
 */
import { createInterface } from 'node:readline';
import { asSkerryError, SkerryError } from '@skerry/model';
import { startInteractive } from './interactive.ts';
import { run } from './run.ts';

const STATES = ['reachable', 'stale', 'delay', 'probe', 'incomplete', 'failed'] as const;

export interface Neighbour {
  readonly address: string;
  readonly interface: string;
  /** `gone`: the kernel forgot it, or its interface lost its carrier. */
  readonly state: (typeof STATES)[number] | 'gone';
  /** Of the link layer; absent where nobody has answered. */
  readonly mac?: string;
}

export interface NeighbourListener {
  /** A change, in the kernel's order. */
  heard(neighbour: Neighbour): void;
  /** The whole table, once what changes is heard, and again where the kernel could not tell all (netlink(7), ENOBUFS). */
  listed(neighbours: readonly Neighbour[]): void;
  /** Nothing more is heard. */
  ended(error: SkerryError): void;
}

export interface NeighbourOptions {
  /** Of these interfaces only. */
  readonly interfaces: readonly string[];
  /** A named network namespace; absent: ours. */
  readonly netns?: string;
}

const LIST_TIMEOUT_MS = 5000;
/** A kernel that could not keep up is asked for the whole when it has calmed down. The first time: `ip` is listening by then. */
const LIST_AFTER_MS = 500;
const NOBODY = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
const WITHOUT_RIGHTS = [
  ...['--pdeathsig', 'KILL', ...NOBODY, '--no-new-privs'],
  ...['--inh-caps=-all', '--bounding-set=-all'],
];

/** A line of `ip neigh show` or `ip monitor neigh`; undefined for what is no neighbour that has an address. */
export function parseNeighbour(line: string): Neighbour | undefined {
  const words = line.trim().split(/\s+/);
  const isDeleted = words[0] === 'Deleted';
  const [address = '', dev, name] = isDeleted ? words.slice(1) : words;
  if (dev !== 'dev' || name === undefined || !/^[0-9a-f.:]+$/i.test(address)) return undefined;
  const told = STATES.find((one) => words.at(-1) === one.toUpperCase());
  if (!told && !isDeleted) return undefined; // PERMANENT, NOARP: nobody was heard
  const at = words.indexOf('lladdr');
  const mac = at < 0 ? undefined : words[at + 1];
  const state = isDeleted || !told ? 'gone' : told;
  return { address, interface: name, state, ...(mac !== undefined && { mac }) };
}

/** Errors: host_missing, host_command_failed. What goes wrong later is told by `ended`. */
export async function watchNeighbours(
  { interfaces, netns }: NeighbourOptions,
  listener: NeighbourListener,
): Promise<{ close(): void }> {
  const names = new Set(interfaces);
  const inside = netns === undefined ? [] : ['ip', 'netns', 'exec', netns];
  const [file = '', ...args] = [...inside, 'setpriv', ...WITHOUT_RIGHTS, 'ip', 'monitor', 'neigh'];
  const child = await startInteractive(file, args, {});
  const closed = new AbortController();
  const { signal } = closed;
  const end = (error: SkerryError) => {
    if (signal.aborted) return;
    closed.abort();
    child.kill();
    listener.ended(error);
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    const one = parseNeighbour(line);
    if (one && names.has(one.interface) && !signal.aborted) listener.heard(one);
  });

  const list = async () => {
    const show = [...(netns === undefined ? [] : ['-n', netns]), 'neigh', 'show'];
    try {
      const { stdout } = await run('ip', show, { timeoutMs: LIST_TIMEOUT_MS, signal });
      const all = stdout.split('\n').flatMap((line) => parseNeighbour(line) ?? []);
      if (!signal.aborted) listener.listed(all.filter((one) => names.has(one.interface)));
    } catch (error) {
      end(asSkerryError(error));
    }
  };
  let due: NodeJS.Timeout | undefined;
  const listSoon = () => {
    due ??= setTimeout(() => {
      due = undefined;
      void list();
    }, LIST_AFTER_MS);
  };
  signal.addEventListener('abort', () => clearTimeout(due), { once: true });
  // it complains when the kernel had to leave something out
  child.stderr?.on('data', listSoon);
  listSoon();
  void child.exit.then((status) =>
    end(
      new SkerryError('host_command_failed', `ip monitor, which tells of neighbours, ended with ${status}`),
    ),
  );
  return {
    close() {
      closed.abort();
      child.kill();
    },
  };
}
