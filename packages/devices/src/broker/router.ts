/**
 * Who gets a message: the sessions of its project whose filters match, each once; of a shared subscription one of the group. What
 * a session can not take now waits in it, within its limits; what is beyond them is dropped and counted.
 */

import { encodePublish } from './codec/encode.ts';
import type { Qos } from './codec/packets.ts';
import type { Counts } from './counts.ts';
import type { BrokerLimits } from './limits.ts';
import type { BrokerMemory } from './memory.ts';
import type { Delivery, Session, Subscription } from './session.ts';
import { FilterTree, sharedParts } from './topics.ts';

interface Match {
  readonly session: Session;
  readonly subscription: Subscription;
  /** Of a shared subscription. */
  readonly group?: string;
}
/** Queued by a session whose device may come with smaller limits. */
export type LimitsOf = (session: Session) => { readonly messages: number; readonly bytes: number };

const EXPIRED = 0;

export class Router {
  readonly #memory: BrokerMemory;
  readonly #limits: BrokerLimits;
  readonly #counts: Counts;
  readonly #limitsOf: LimitsOf;
  readonly #trees = new Map<string, FilterTree<Match>>();
  /** Of each shared group, who had the last one. */
  readonly #turns = new Map<string, number>();

  constructor(memory: BrokerMemory, limits: BrokerLimits, counts: Counts, limitsOf: LimitsOf) {
    this.#memory = memory;
    this.#limits = limits;
    this.#counts = counts;
    this.#limitsOf = limitsOf;
    for (const session of memory.sessions.values())
      for (const [filter, subscription] of session.subscriptions) this.add(session, filter, subscription);
  }

  #tree(project: string): FilterTree<Match> {
    let tree = this.#trees.get(project);
    if (!tree) {
      tree = new FilterTree();
      this.#trees.set(project, tree);
    }
    return tree;
  }
  #place(session: Session, filter: string) {
    const shared = sharedParts(filter);
    return {
      filter: shared?.filter ?? filter,
      group: shared && filter,
      key: `${session.key} ${shared?.group ?? ''}`,
    };
  }
  add(session: Session, filter: string, subscription: Subscription): void {
    const place = this.#place(session, filter);
    const match: Match = { session, subscription, ...(place.group !== undefined && { group: place.group }) };
    this.#tree(session.identity.project).set(place.filter, place.key, match);
  }
  remove(session: Session, filter: string): void {
    const place = this.#place(session, filter);
    this.#tree(session.identity.project).delete(place.filter, place.key);
  }
  removeAll(session: Session): void {
    for (const filter of session.subscriptions.keys()) this.remove(session, filter);
  }

  /** True: somebody has it, or will. */
  route(project: string, delivery: Delivery, from?: Session): boolean {
    const tree = this.#trees.get(project);
    if (!tree) return false;
    const each = new Map<Session, { qos: Qos; retain: boolean; ids: number[] }>();
    let groups: Map<string, Match[]> | undefined;
    const add = ({ session, subscription }: Match) => {
      if (subscription.noLocal && session === from) return;
      const qos = Math.min(delivery.qos, subscription.qos) as Qos;
      const before = each.get(session);
      each.set(session, {
        qos: Math.max(before?.qos ?? 0, qos) as Qos,
        retain: (before?.retain ?? false) || (subscription.retainAsPublished && delivery.retain),
        ids: [...(before?.ids ?? []), ...(subscription.id === undefined ? [] : [subscription.id])],
      });
    };
    tree.match(delivery.topic, (match) => {
      if (match.group === undefined) add(match);
      else {
        groups ??= new Map();
        groups.set(match.group, [...(groups.get(match.group) ?? []), match]);
      }
    });
    for (const [group, members] of groups ?? []) add(this.#oneOf(`${project} ${group}`, members));
    for (const [session, { qos, retain, ids }] of each) {
      const properties =
        ids.length > 0 ? { ...delivery.properties, subscriptionIds: ids } : delivery.properties;
      this.give(session, { ...delivery, qos, retain, ...(properties && { properties }) });
    }
    return each.size > 0;
  }

  /** In turn, those that are connected before those that are away. */
  #oneOf(group: string, members: readonly Match[]): Match {
    const there = members.filter(({ session }) => session.line);
    const able = there.length > 0 ? there : members;
    const turn = (this.#turns.get(group) ?? -1) + 1;
    this.#turns.set(group, turn % able.length);
    return able[turn % able.length]!;
  }

  give(session: Session, delivery: Delivery): void {
    const { line } = session;
    if (delivery.qos === 0) {
      if (!line) return;
      if (line.unsentBytes > this.#limits.unsentBytes) this.#counts.dropped++;
      else this.#send(session, delivery, 0, false);
      return;
    }
    if (!line && !session.persistent) return;
    const { messages, bytes } = this.#limitsOf(session);
    if (session.queued >= messages || session.waitingBytes + delivery.payload.length > bytes) {
      this.#counts.dropped++;
      return;
    }
    this.#memory.enqueue(session, delivery);
    this.pump(session);
  }

  /** Sends what waits, as much as may be under way. */
  pump(session: Session): void {
    const { line } = session;
    if (!line) return;
    const window = Math.min(line.receiveMaximum, this.#limits.inFlight);
    let sent = 0;
    while (
      sent < session.waiting.length &&
      session.inFlight.size < window &&
      line.unsentBytes <= this.#limits.unsentBytes
    ) {
      const message = session.waiting[sent++]!;
      const id = session.takeId();
      if (this.#send(session, message, id, false)) session.inFlight.set(id, { message, released: false });
      else this.#memory.done(session, message);
    }
    if (sent > 0) session.waiting.splice(0, sent);
  }

  /** After a new connection: what was under way goes again. */
  resume(session: Session): void {
    const before = [...session.inFlight];
    for (const [id, { message, released }] of before) {
      if (released) session.line?.send(RELEASE(id));
      else if (!this.#send(session, message, id, true)) {
        session.inFlight.delete(id);
        this.#memory.done(session, message);
      }
    }
    this.pump(session);
  }

  /** False: it is too old, or too large for its device, and is sent no more. */
  #send(session: Session, delivery: Delivery, id: number, dup: boolean): boolean {
    const line = session.line!;
    const { expiresAtMs } = delivery;
    let { properties } = delivery;
    if (expiresAtMs !== undefined) {
      const leftSeconds = Math.ceil((expiresAtMs - Date.now()) / 1000);
      if (leftSeconds <= EXPIRED) {
        this.#counts.expired++;
        return false;
      }
      properties = { ...properties, messageExpiry: leftSeconds };
    }
    const bytes = encodePublish(line.version, { ...delivery, dup, ...(properties && { properties }) }, id);
    if (bytes.length > line.packetBytes) {
      this.#counts.dropped++;
      return false;
    }
    line.send(bytes);
    this.#counts.sent++;
    return true;
  }
}

const RELEASE = (id: number): Buffer => Buffer.from([0x62, 2, id >> 8, id & 255]);
