/**
 * The shadow of a device: what it reported of itself, durable here, and what people wish of it, told by the feed. It works
 * through topics of its own, with and without the controller:
 *
 *   $skerry/shadow/<device>/update    says   {"reported": {...}}: merged into what it reported before; null takes a field away
 *   $skerry/shadow/<device>/get       says   nothing, and wants to know
 *   .../accepted                      hears  {"reported": {"version", "state"}, "desired"?: {"version", "state"}, "delta": {...}}
 *   .../rejected                      hears  {"reason"}
 *   .../delta                         hears  {"version", "state"}: of what is desired, all that was not reported so (retained)
 */
import { isDeepStrictEqual } from 'node:util';
import type { FeedDevice } from '@skerry/contract';
import type { Message } from '../message.ts';
import type { DeviceIdentity } from '../ports.ts';
import { shadowTopic } from './auth.ts';
import type { Directory, Reported } from './directory.ts';

const NOTHING: Reported = { version: 0, atMs: 0, state: {} };
/** Of the whole state, as JSON. */
const MOST_STATE_BYTES = 65_536;
const DEEPEST = 16;

type State = Readonly<Record<string, unknown>>;
const isState = (value: unknown): value is State =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Field by field; null takes one away (RFC 7396). */
export function merged(state: State, change: State): State {
  // a Map first: `__proto__` is a field as any other
  const fields = new Map(Object.entries(state));
  for (const [name, value] of Object.entries(change)) {
    const before = fields.get(name);
    if (value === null) fields.delete(name);
    else if (isState(value)) fields.set(name, merged(isState(before) ? before : {}, value));
    else fields.set(name, value);
  }
  return Object.fromEntries(fields);
}

/** Of what is desired, all that is not reported so. */
export function differing(desired: State, reported: State): State {
  const fields = new Map<string, unknown>();
  for (const [name, value] of Object.entries(desired)) {
    const has = Object.hasOwn(reported, name) ? reported[name] : undefined;
    if (isState(value) && isState(has)) {
      const inner = differing(value, has);
      if (Object.keys(inner).length > 0) fields.set(name, inner);
    } else if (!isDeepStrictEqual(value, has)) fields.set(name, value);
  }
  return Object.fromEntries(fields);
}

const depthOf = (value: unknown, at = 0): number =>
  typeof value !== 'object' || value === null || at > DEEPEST
    ? at
    : Math.max(at, ...Object.values(value).map((inner) => depthOf(inner, at + 1)));

export interface ShadowOptions {
  readonly directory: Directory;
  readonly publish: (project: string, topic: string, value: unknown, retain: boolean) => Promise<void>;
  /** It is durable here. */
  readonly onReported: (identity: DeviceIdentity) => void;
}

export class Shadow {
  readonly #options: ShadowOptions;
  /** By device: what of `delta` was published last, as JSON. */
  readonly #told = new Map<string, string>();

  constructor(options: ShadowOptions) {
    this.#options = options;
    options.directory.onChange((changes) => {
      for (const change of changes) {
        if (change.type === 'put' && change.object.kind === 'device') {
          const before = change.before?.kind === 'device' ? change.before.desired : undefined;
          if (!isDeepStrictEqual(change.object.desired, before)) void this.#tellDelta(change.object);
        } else if (change.type === 'delete' && change.before.kind === 'device') {
          const { desired: _, ...gone } = change.before;
          void this.#tellDelta(gone);
        }
      }
    });
  }

  /** Whether the message is one of a shadow; then it is nobody else's. Resolves when what it says is durable. */
  take(message: Message): Promise<void> | undefined {
    const { project, device, topic } = message;
    if (topic === shadowTopic(device, 'get')) return this.#get(project, device);
    if (topic === shadowTopic(device, 'update')) return this.#update(message);
    return undefined;
  }

  /** It may have been away while something was wished of it. */
  connected({ project, device }: DeviceIdentity): void {
    const known = this.#options.directory.device(project, device);
    if (known?.desired) void this.#tellDelta(known);
  }

  async #get(project: string, device: string): Promise<void> {
    const known = this.#options.directory.device(project, device);
    if (known) await this.#say(known, 'accepted', this.#whole(known));
  }

  async #update({ project, device, payload, receivedAtMs }: Message): Promise<void> {
    const { directory, onReported } = this.#options;
    const known = directory.device(project, device);
    if (!known) return;
    const before = directory.reported(known) ?? NOTHING;
    const read = readUpdate(payload, before, receivedAtMs);
    if (typeof read === 'string') return this.#say(known, 'rejected', { reason: read });
    directory.report(known, read);
    onReported({ project, device });
    await this.#say(known, 'accepted', this.#whole(known));
    await this.#tellDelta(known);
  }

  #whole(known: FeedDevice): unknown {
    const reported = this.#options.directory.reported(known) ?? NOTHING;
    const { desired } = known;
    return {
      reported: { version: reported.version, state: reported.state },
      ...(desired && { desired }),
      delta: this.#delta(known),
    };
  }

  #delta(known: FeedDevice): State {
    const wished = known.desired?.state;
    return isState(wished) ? differing(wished, this.#options.directory.reported(known)?.state ?? {}) : {};
  }

  /** Retained, so that a device that subscribes later hears it; empty once nothing differs. */
  async #tellDelta(known: FeedDevice): Promise<void> {
    const { project, name, desired } = known;
    const key = `${project}/${name}`;
    const delta = this.#delta(known);
    const isEmpty = Object.keys(delta).length === 0;
    const value = isEmpty ? undefined : { version: desired?.version, state: delta };
    const text = JSON.stringify(value) ?? '';
    if ((this.#told.get(key) ?? '') === text) return;
    if (isEmpty) this.#told.delete(key);
    else this.#told.set(key, text);
    await this.#say(known, 'delta', value, true);
  }

  async #say({ project, name }: FeedDevice, verb: string, value: unknown, retain = false): Promise<void> {
    // What can not be told now is told with the next question, or the next connection.
    await this.#options.publish(project, shadowTopic(name, verb), value, retain).catch(() => {
      if (verb === 'delta') this.#told.delete(`${project}/${name}`);
    });
  }
}

/** The state after it, or why it is refused. */
function readUpdate(payload: Uint8Array, before: Reported, atMs: number): Reported | string {
  if (payload.length > MOST_STATE_BYTES) return `it has more than ${MOST_STATE_BYTES} bytes`;
  let said: unknown;
  try {
    said = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    return 'it is no JSON';
  }
  if (!isState(said) || !isState(said.reported)) return 'it must be an object with the object "reported"';
  if (depthOf(said.reported) > DEEPEST) return `it is nested more than ${DEEPEST} deep`;
  const state = merged(before.state, said.reported);
  if (JSON.stringify(state).length > MOST_STATE_BYTES)
    return `all that the device reported would have more than ${MOST_STATE_BYTES} characters`;
  return { version: before.version + 1, atMs, state };
}
