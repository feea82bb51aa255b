/**
 * Shadows: what is wished of a device and what it reported. A reported state is stored at once where the last time is long
 * ago, else later, the last one only: a device that talks all the time costs one write in five seconds.
 */
import { SkerryError } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { type Conditions, requireConditions } from '../http/conditions.ts';
import { mergePatch } from '../manifests/merge-patch.ts';
import { keyOf } from '../state/keys.ts';
import { same } from '../state/resource.ts';
import { missingDevice } from './accept.ts';
import type { DesiredShadow, ReportedShadow, State } from './stored.ts';

const EVERY_MS = 5000;
const MOST_DESIRED_BYTES = 8192;

export interface Reported {
  readonly project: string;
  readonly name: string;
  readonly node: string;
  readonly version: number;
  readonly state: State;
}
export interface ShadowView {
  readonly desired: State;
  readonly reported: State;
  readonly delta: State;
  readonly versions: { readonly desired: number; readonly reported: number };
  readonly times: { readonly desired?: string; readonly reported?: string };
}
export interface Shadows {
  /** Resolves when what is to be stored at once is durable. */
  take(reported: readonly Reported[]): Promise<void>;
  show(project: string, name: string): { readonly body: ShadowView; readonly revision: number };
  /** Errors: not_found, request_invalid, payload_too_large, precondition_failed. */
  desire(project: string, name: string, patch: unknown, conditions: Conditions): Promise<void>;
  /** What waits is stored. */
  stop(): Promise<void>;
}

const isState = (value: unknown): value is State =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Of what is wished, all that is not reported so. */
export function deltaOf(desired: State, reported: State): State {
  const fields = new Map<string, unknown>();
  for (const [name, value] of Object.entries(desired)) {
    const has = Object.hasOwn(reported, name) ? reported[name] : undefined;
    if (isState(value) && isState(has)) {
      const inner = deltaOf(value, has);
      if (Object.keys(inner).length > 0) fields.set(name, inner);
    } else if (!same(value, has)) fields.set(name, value);
  }
  return Object.fromEntries(fields);
}

export function createShadows(core: Core): Shadows {
  const { view, clock, logger } = core;
  /** What is newer than what is stored. */
  const waiting = new Map<string, Reported & { readonly at: string }>();
  const writtenAtMs = new Map<string, number>();
  let cancel: (() => void) | undefined;
  let stopped = false;

  const storedOf = (project: string, name: string, uid: string) => {
    const found = view.get('device-reported', project, name);
    return found?.uid === uid ? found : undefined;
  };
  async function write(keys: readonly string[]): Promise<void> {
    const pieces = keys.flatMap((key) => waiting.get(key) ?? []);
    if (pieces.length === 0) return;
    const nowMs = clock.monotonicMs();
    for (const key of keys) writtenAtMs.set(key, nowMs);
    await change(core, [], false, (draft) => {
      for (const { project, name, node, version, state, at } of pieces) {
        const device = draft.get('devices', project, name);
        if (!device) continue;
        const shadow: ReportedShadow = { uid: device.metadata.uid, node, version, state, at };
        draft.put(keyOf('device-reported', project, name), shadow);
      }
    });
    for (const piece of pieces) {
      const key = `${piece.project}/${piece.name}`;
      if (waiting.get(key) === piece) waiting.delete(key);
    }
  }
  const isDue = (key: string) => clock.monotonicMs() - (writtenAtMs.get(key) ?? -EVERY_MS) >= EVERY_MS;
  const later = () => {
    if (cancel || stopped || waiting.size === 0) return;
    const first = Math.min(...[...waiting.keys()].map((key) => writtenAtMs.get(key) ?? 0));
    const inMs = Math.max(1, first + EVERY_MS - clock.monotonicMs());
    cancel = clock.after(inMs, () => {
      cancel = undefined;
      write([...waiting.keys()].filter(isDue))
        .catch((error) => logger.warn({ err: error }, 'reported states were not stored: tried again'))
        .finally(later);
    });
  };

  return {
    async take(reported) {
      const at = new Date(clock.nowMs()).toISOString();
      const due: string[] = [];
      for (const one of reported) {
        const key = `${one.project}/${one.name}`;
        const device = view.get('devices', one.project, one.name);
        if (!device || !isState(one.state)) continue;
        const known = waiting.get(key) ?? storedOf(one.project, one.name, device.metadata.uid);
        if (known && known.node === one.node && known.version >= one.version) continue;
        waiting.set(key, { ...one, at });
        if (isDue(key)) due.push(key);
      }
      if (writtenAtMs.size > 1000)
        for (const key of [...writtenAtMs.keys()])
          if (isDue(key) && !waiting.has(key)) writtenAtMs.delete(key);
      try {
        await write(due);
      } finally {
        later();
      }
    },
    show(project, name) {
      const device = view.get('devices', project, name);
      if (!device) throw missingDevice(project, name);
      const { uid } = device.metadata;
      const wished = view.get('device-desired', project, name);
      const desired = wished?.uid === uid ? wished : undefined;
      const reported = waiting.get(`${project}/${name}`) ?? storedOf(project, name, uid);
      return {
        body: {
          desired: desired?.state ?? {},
          reported: reported?.state ?? {},
          delta: deltaOf(desired?.state ?? {}, reported?.state ?? {}),
          versions: { desired: desired?.version ?? 0, reported: reported?.version ?? 0 },
          times: { ...(desired && { desired: desired.at }), ...(reported && { reported: reported.at }) },
        },
        revision: view.revisionOf(keyOf('device-desired', project, name)),
      };
    },
    async desire(project, name, patch, conditions) {
      if (!isState(patch)) throw new SkerryError('request_invalid', 'what is wished must be a map of fields');
      const key = keyOf('device-desired', project, name);
      await change(core, [key], false, (draft, world) => {
        const device = draft.get('devices', project, name);
        if (!device) throw missingDevice(project, name);
        draft.need(keyOf('devices', project, name));
        const { uid } = device.metadata;
        const stored = draft.get('device-desired', project, name);
        requireConditions(conditions, view.revisionOf(key), `the shadow of ${name}`);
        const former = stored?.uid === uid ? stored : undefined;
        const state = mergePatch(former?.state ?? {}, patch) as State;
        const size = Buffer.byteLength(JSON.stringify(state));
        if (size > MOST_DESIRED_BYTES) {
          const text = `what is wished of ${name} would have ${size} bytes: at most ${MOST_DESIRED_BYTES}`;
          throw new SkerryError('payload_too_large', text);
        }
        if (former && same(former.state, state)) return;
        const next: DesiredShadow = { uid, version: (former?.version ?? 0) + 1, state, at: world.now };
        draft.put(key, next);
      });
    },
    async stop() {
      stopped = true;
      cancel?.();
      cancel = undefined;
      await write([...waiting.keys()]).catch((error) =>
        logger.warn({ err: error }, 'reported states were not stored'),
      );
    },
  };
}
