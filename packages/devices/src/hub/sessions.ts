/**
 * Sessions that move between nodes: a device that connects here and has its session elsewhere gets it, through agents and
 * controller, before it is answered. Where they do not answer in time it goes on with a new one.
 */
import { SkerryError } from '@skerry/model';
import type { Broker, DeviceIdentity, SessionState } from '../ports.ts';
import type { Directory } from './directory.ts';
import type { Reports } from './reports.ts';

/** A device waits for its CONNACK meanwhile. */
const FETCH_LIMIT_MS = 3000;
/** Who took a session and said nothing more has it not: it stays here. */
const GIVEN_LIMIT_MS = 60_000;

export interface SessionsOptions {
  readonly directory: Directory;
  readonly reports: Pick<Reports, 'ask'>;
  readonly node: () => string;
  readonly broker: () => Broker | undefined;
}

const keyOf = ({ project, device }: DeviceIdentity, clientId: string) => `${project}/${device}/${clientId}`;

export class Sessions {
  readonly #options: SessionsOptions;
  /** Brought here and not confirmed yet: the node that it came from. */
  readonly #brought = new Map<string, string>();
  /** Given away and not confirmed yet. */
  readonly #given = new Map<string, { done(): Promise<void>; timer: NodeJS.Timeout }>();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  async fetch(
    identity: DeviceIdentity,
    clientId: string,
    signal: AbortSignal,
  ): Promise<SessionState | undefined> {
    const { directory, node, reports } = this.#options;
    const { project, device } = identity;
    const elsewhere = directory.device(project, device)?.node;
    if (elsewhere === undefined || elsewhere === node()) return undefined;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(FETCH_LIMIT_MS)]);
    try {
      const call = { verb: 'session-take', project, device, clientId } as const;
      const [state] = await reports.ask(elsewhere, call, limit);
      if (!state) return undefined;
      this.#brought.set(keyOf(identity, clientId), elsewhere);
      return state as SessionState;
    } catch {
      return undefined; // nobody there to be asked: a session of its own is better than none
    }
  }

  /** It is connected here: the node that had its session may forget it. */
  arrived(identity: DeviceIdentity, clientId: string): void {
    const key = keyOf(identity, clientId);
    const from = this.#brought.get(key);
    if (from === undefined) return;
    this.#brought.delete(key);
    const { project, device } = identity;
    const call = { verb: 'session-taken', project, device, clientId } as const;
    this.#options.reports.ask(from, call, new AbortController().signal).catch(() => undefined);
  }

  /** For another node. Nothing: there is none. */
  async *give(identity: DeviceIdentity, clientId: string): AsyncGenerator<SessionState> {
    const broker = this.#options.broker();
    if (!broker) throw new SkerryError('unavailable', 'this node has no broker of its own');
    broker.disconnect(identity, 'moved');
    const found = await broker.exportSession(identity, clientId);
    if (!found) return;
    const key = keyOf(identity, clientId);
    clearTimeout(this.#given.get(key)?.timer);
    const timer = setTimeout(() => this.#given.delete(key), GIVEN_LIMIT_MS).unref();
    this.#given.set(key, { done: () => found.done(), timer });
    yield found.state;
  }

  /** The other node has it. */
  async taken(identity: DeviceIdentity, clientId: string): Promise<void> {
    const key = keyOf(identity, clientId);
    const given = this.#given.get(key);
    if (!given) return;
    clearTimeout(given.timer);
    this.#given.delete(key);
    await given.done();
  }

  close(): void {
    for (const { timer } of this.#given.values()) clearTimeout(timer);
  }
}
