/**
 * The desired state, kept twice: the current one, durable before anything acts on it, and the last one that the agent
 * got through without dying. It counts the agent's starts on the current one; after too many the good one holds.
 *
 *   accept(n) -> current = n, starts = 0     start -> starts + 1     settled -> good = current, starts = 0
 */
import type {
  DesiredInstance,
  DesiredState,
  DesiredVolume,
  NetworkPeer,
  ServiceRoute,
} from '@skerry/contract';
import type { Op, Store } from '@skerry/store';
import { listAll } from './list-all.ts';

const BOOTS = '/ledger/boots';
type Copy = 'current' | 'good';
const root = (copy: Copy) => `/ledger/${copy}/`;

/** Key below the copy's root -> JSON. `head` holds generation and images. */
type Texts = Map<string, string>;

function textsOf(state: DesiredState): Texts {
  const texts: Texts = new Map();
  texts.set('head', JSON.stringify({ generation: state.generation, images: state.images }));
  for (const instance of state.instances) texts.set(`instance/${instance.uid}`, JSON.stringify(instance));
  for (const volume of state.volumes) texts.set(`volume/${volume.uid}`, JSON.stringify(volume));
  for (const peer of state.network?.peers ?? []) texts.set(`peer/${peer.node}`, JSON.stringify(peer));
  for (const service of state.network?.services ?? []) {
    texts.set(`service/${service.uid}`, JSON.stringify(service));
  }
  if (state.network?.clients) texts.set('clients', JSON.stringify(state.network.clients));
  return texts;
}

function stateOf(texts: Texts): DesiredState | undefined {
  const head = texts.get('head');
  if (head === undefined) return undefined;
  const { generation, images } = JSON.parse(head) as Pick<DesiredState, 'generation' | 'images'>;
  const instances: DesiredInstance[] = [];
  const volumes: DesiredVolume[] = [];
  const peers: NetworkPeer[] = [];
  const services: ServiceRoute[] = [];
  for (const [key, text] of texts) {
    if (key.startsWith('instance/')) instances.push(JSON.parse(text));
    else if (key.startsWith('volume/')) volumes.push(JSON.parse(text));
    else if (key.startsWith('peer/')) peers.push(JSON.parse(text));
    else if (key.startsWith('service/')) services.push(JSON.parse(text));
  }
  const clients = texts.get('clients');
  const parts = { peers, services, ...(clients !== undefined && { clients: JSON.parse(clients) }) };
  const network = peers.length + services.length > 0 || clients !== undefined ? { network: parts } : {};
  return { generation, images, instances, volumes, ...network };
}

/** Only what differs is written: a change of one instance among a thousand is two keys. */
function difference(copy: Copy, from: Texts, to: Texts): Op[] {
  const ops: Op[] = [];
  for (const [key, value] of to) if (from.get(key) !== value) ops.push({ put: root(copy) + key, value });
  for (const key of from.keys()) if (!to.has(key)) ops.push({ delete: root(copy) + key });
  return ops;
}

export class DesiredLedger {
  readonly #store: Store;
  #currentTexts: Texts = new Map();
  #goodTexts: Texts = new Map();
  #boots = { generation: 0, count: 0 };
  current: DesiredState | undefined;
  good: DesiredState | undefined;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(store: Store) {
    this.#store = store;
  }

  async load(): Promise<void> {
    for (const copy of ['current', 'good'] as const) {
      const texts: Texts = new Map();
      for (const entry of await listAll(this.#store, root(copy))) {
        texts.set(entry.key.slice(root(copy).length), entry.value);
      }
      if (copy === 'current') this.#currentTexts = texts;
      else this.#goodTexts = texts;
    }
    this.current = stateOf(this.#currentTexts);
    this.good = stateOf(this.#goodTexts);
    const boots = await this.#store.get(BOOTS);
    if (boots) this.#boots = JSON.parse(boots.value);
  }

  /** Counts this start, durable. Returns how many on this generation have not settled, this one included. */
  async countBoot(): Promise<number> {
    const generation = this.current?.generation ?? 0;
    const count = this.#boots.generation === generation ? this.#boots.count + 1 : 1;
    await this.#inTurn(() => this.#write([], { generation, count }));
    return count;
  }

  async forgetBoots(): Promise<void> {
    await this.#inTurn(() => this.#write([], { ...this.#boots, count: 0 }));
  }

  /** Durable when it resolves. An older generation is refused, the same one has nothing new. Errors: store_full. */
  accept(state: DesiredState): Promise<'accepted' | 'same' | 'older'> {
    return this.#inTurn(async () => {
      const known = this.current?.generation ?? -1;
      if (state.generation < known) return 'older';
      if (state.generation === known) return 'same';
      const texts = textsOf(state);
      const ops = difference('current', this.#currentTexts, texts);
      await this.#write(ops, { generation: state.generation, count: 0 });
      this.#currentTexts = texts;
      this.current = state;
      return 'accepted';
    });
  }

  /** The current state has shown itself to be harmless. */
  settle(generation: number): Promise<void> {
    return this.#inTurn(async () => {
      if (this.current?.generation !== generation) return;
      const ops = difference('good', this.#goodTexts, this.#currentTexts);
      if (ops.length === 0 && this.#boots.count === 0) return;
      await this.#write(ops, { generation, count: 0 });
      this.#goodTexts = new Map(this.#currentTexts);
      this.good = this.current;
    });
  }

  async #write(ops: readonly Op[], boots: { generation: number; count: number }): Promise<void> {
    await this.#store.txn([], [...ops, { put: BOOTS, value: JSON.stringify(boots) }]);
    this.#boots = boots;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#writing.then(work);
    this.#writing = result.catch(() => undefined); // the caller has the error; the next one gets its turn all the same
    return result;
  }
}
