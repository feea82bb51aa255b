/**
 * What the hub tells its agent: presence, reported states, counts, enrolments. Only what changed, at most once a second;
 * all of it where somebody begins to listen. Questions to other nodes go the same way.
 */
import type { DeviceReport, HubCall } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { DeviceIdentity } from '../ports.ts';
import type { Enrolment } from './auth.ts';
import type { Directory } from './directory.ts';

/** One line of the report. `ask`: to be asked of another node, and answered by its number. */
export type ReportLine =
  | { readonly report: DeviceReport }
  | { readonly ask: { readonly id: number; readonly node: string; readonly call: HubCall } };

const EVERY_MS = 1000;
/** Devices in one line. */
const PIECE = 1000;
const ASK_LIMIT_MS = 5000;

interface Presence extends DeviceIdentity {
  readonly clients: Set<string>;
  seenAtMs: number;
}
export interface ReportsOptions {
  readonly directory: Directory;
  readonly streams: () => DeviceReport['streams'];
  readonly enrolling: () => readonly Enrolment[];
  readonly listening: () => readonly string[];
  readonly now?: () => number;
}
interface Listener {
  readonly lines: ReportLine[];
  wake: () => void;
}

export class Reports {
  readonly #options: ReportsOptions;
  readonly #now: () => number;
  readonly #presence = new Map<string, Presence>();
  readonly #dirty = new Set<string>();
  readonly #reportedDirty = new Set<string>();
  readonly #asked = new Map<number, { resolve(values: unknown[]): void; reject(error: Error): void }>();
  #listener: Listener | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastAsk = 0;
  /** What was told of streams, enrolments and addresses last, as JSON. */
  #toldRest = '';

  constructor(options: ReportsOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  get connected(): number {
    let count = 0;
    for (const { clients } of this.#presence.values()) if (clients.size > 0) count++;
    return count;
  }

  connectedNow({ project, device }: DeviceIdentity, clientId: string): void {
    const key = `${project}/${device}`;
    const found = this.#presence.get(key) ?? { project, device, clients: new Set(), seenAtMs: 0 };
    found.clients.add(clientId);
    found.seenAtMs = this.#now();
    this.#presence.set(key, found);
    this.#dirty.add(key);
    this.changed();
  }

  disconnected({ project, device }: DeviceIdentity, clientId: string, seenAtMs: number): void {
    const key = `${project}/${device}`;
    const found = this.#presence.get(key);
    if (!found) return;
    found.clients.delete(clientId);
    found.seenAtMs = Math.max(found.seenAtMs, seenAtMs);
    this.#dirty.add(key);
    this.changed();
  }

  /** It spoke without a connection that stays: by HTTP. */
  seen({ project, device }: DeviceIdentity): void {
    const key = `${project}/${device}`;
    const found = this.#presence.get(key) ?? { project, device, clients: new Set(), seenAtMs: 0 };
    found.seenAtMs = this.#now();
    this.#presence.set(key, found);
    this.#dirty.add(key);
    this.changed();
  }

  reported({ project, device }: DeviceIdentity): void {
    const key = `${project}/${device}`;
    this.#dirty.add(key);
    this.#reportedDirty.add(key);
    this.changed();
  }

  /** Something is to be told. */
  changed(): void {
    if (!this.#listener || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#tell();
    }, EVERY_MS);
    this.#timer.unref();
  }

  /** Of the hub that another node runs. Rejects where no agent listens, or nobody answers in time. */
  ask(node: string, call: HubCall, signal: AbortSignal): Promise<unknown[]> {
    const listener = this.#listener;
    if (!listener) return Promise.reject(new SkerryError('unavailable', 'no agent listens to the hub'));
    const id = ++this.#lastAsk;
    return new Promise<unknown[]>((resolve, reject) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(ASK_LIMIT_MS)]);
      const end = () => {
        this.#asked.delete(id);
        reject(new SkerryError('unavailable', `the node ${node} did not answer in time`));
      };
      limit.addEventListener('abort', end, { once: true });
      const settle = () => {
        this.#asked.delete(id);
        limit.removeEventListener('abort', end);
      };
      this.#asked.set(id, {
        resolve(values) {
          settle();
          resolve(values);
        },
        reject(error) {
          settle();
          reject(error);
        },
      });
      listener.lines.push({ ask: { id, node, call } });
      listener.wake();
    });
  }

  /** What another node said; `undefined` where it could not be asked. */
  answered(id: number, values: readonly unknown[] | undefined): void {
    const asked = this.#asked.get(id);
    if (values) asked?.resolve([...values]);
    else asked?.reject(new SkerryError('unavailable', 'the other node could not be asked'));
  }

  /** One listener: the last one counts. All that is known comes first. */
  async *listen(signal: AbortSignal): AsyncGenerator<ReportLine> {
    this.#listener?.wake();
    const listener: Listener = { lines: [], wake: () => undefined };
    this.#listener = listener;
    const wake = () => listener.wake();
    signal.addEventListener('abort', wake, { once: true });
    this.#tellAll();
    try {
      while (!signal.aborted && this.#listener === listener) {
        const line = listener.lines.shift();
        if (line) yield line;
        else
          await new Promise<void>((resolve) => {
            listener.wake = resolve;
          });
      }
    } finally {
      signal.removeEventListener('abort', wake);
      if (this.#listener === listener) this.#listener = undefined;
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.wake();
  }

  #tellAll(): void {
    for (const key of this.#presence.keys()) this.#dirty.add(key);
    for (const device of this.#options.directory.all('device')) {
      if (!this.#options.directory.reported(device)) continue;
      const key = `${device.project}/${device.name}`;
      this.#dirty.add(key);
      this.#reportedDirty.add(key);
    }
    this.#toldRest = '';
    this.#tell(true);
  }

  #tell(fresh?: true): void {
    const listener = this.#listener;
    if (!listener) return;
    const rest = this.#rest();
    const restText = JSON.stringify(rest);
    if (this.#dirty.size === 0 && restText === this.#toldRest) return;
    this.#toldRest = restText;
    const devices = [...this.#dirty].map((key) => this.#deviceLine(key)).filter((line) => line !== undefined);
    this.#dirty.clear();
    this.#reportedDirty.clear();
    for (let at = 0; at === 0 || at < devices.length; at += PIECE)
      listener.lines.push({
        report: { ...(fresh && at === 0 && { fresh }), devices: devices.slice(at, at + PIECE), ...rest },
      });
    listener.wake();
    // What waits for a sink goes on without anybody's word.
    if (rest.streams.some(({ waiting }) => waiting > 0)) this.changed();
  }

  #rest(): Omit<DeviceReport, 'devices'> {
    const enrol = this.#options
      .enrolling()
      .map(({ project, device, fingerprint }) => ({ project, name: device, fingerprint }));
    return {
      streams: this.#options.streams(),
      ...(enrol.length > 0 && { enrol }),
      listening: this.#options.listening(),
    };
  }

  #deviceLine(key: string): DeviceReport['devices'][number] | undefined {
    const [project = '', name = ''] = key.split('/');
    const presence = this.#presence.get(key);
    const known = this.#options.directory.device(project, name);
    if (!known) this.#presence.delete(key);
    const reported =
      known && this.#reportedDirty.has(key) ? this.#options.directory.reported(known) : undefined;
    if (!presence && !reported) return undefined;
    const connected = presence !== undefined && presence.clients.size > 0;
    // who is gone and was told of is kept no longer
    if (presence && !connected && known) this.#presence.delete(key);
    return {
      ...{ project, name, connected },
      seenAgoMs: Math.max(0, this.#now() - (presence?.seenAtMs ?? reported?.atMs ?? 0)),
      ...(reported && { reported: { version: reported.version, state: reported.state } }),
    };
  }
}
