/**
 * From a topic to the streams that want it. A message is acknowledged when every one of them has it durable; what nobody wants
 * is acknowledged at once.
 */
import type { FeedDevice, FeedStream } from '@skerry/contract';
import type { Message } from '../message.ts';
import { Busy, type Flow } from '../ports.ts';
import type { Directory } from './directory.ts';
import { forDevice, matches, TopicTrie } from './topics.ts';

type Taking = Pick<Flow, 'take'>;

/** Where some have a message and others are full, those are asked again until they take it: its device waits meanwhile. */
const AGAIN_MS = 20;

interface Want {
  readonly key: string;
  readonly pattern: string;
  readonly labels: readonly (readonly [string, string])[];
}

export const streamKey = ({ project, name }: Pick<FeedStream, 'project' | 'name'>): string =>
  `${project}/${name}`;

/** Of a stream that takes what other streams send to it, topics are taken only where it names some. */
function wantsOf(stream: FeedStream): Want[] {
  const { topics, devices, streams } = stream.spec.from;
  const patterns = topics ?? (streams && !devices ? [] : ['#']);
  const labels = Object.entries(devices?.labels ?? {});
  return patterns.map((pattern) => ({ key: streamKey(stream), pattern, labels }));
}

const isWanted = ({ pattern, labels }: Want, { device, topic }: Message, known: FeedDevice | undefined) =>
  (!pattern.includes('%d') || matches(forDevice(pattern, device), topic)) &&
  labels.every(([name, value]) => known?.labels[name] === value);

export class Ingest {
  readonly #directory: Directory;
  readonly #flowOf: (key: string) => Taking | undefined;
  #tries = new Map<string, TopicTrie<Want>>();
  #unwanted = 0;
  #taken = 0;

  /** `flowOf`: the running flow of a stream. */
  constructor(directory: Directory, flowOf: (key: string) => Taking | undefined) {
    this.#directory = directory;
    this.#flowOf = flowOf;
    this.#learn();
    directory.onChange((changes) => {
      const isStream = changes.some(
        (change) => (change.type === 'put' ? change.object : change.before).kind === 'stream',
      );
      if (isStream) this.#learn();
    });
  }

  /** Since it began. */
  get counts(): { readonly taken: number; readonly unwanted: number } {
    return { taken: this.#taken, unwanted: this.#unwanted };
  }

  /** Undefined: nothing is to be waited for. Rejects with `Busy`: none of it was taken. */
  take(message: Message): Promise<void> | undefined {
    const flows = this.#flowsFor(message);
    this.#taken++;
    if (flows.length === 0) this.#unwanted++;
    const waits: Promise<void>[] = [];
    for (const flow of flows) {
      const wait = flow.take(message);
      if (wait) waits.push(wait);
    }
    if (waits.length <= 1) return waits[0];
    return this.#all(message, flows, waits);
  }

  async #all(message: Message, flows: readonly Taking[], waits: readonly Promise<void>[]): Promise<void> {
    const outcomes = await Promise.allSettled(waits);
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
    if (failed.length === 0) return;
    const other = failed.find(({ reason }) => !(reason instanceof Busy));
    if (other) throw other.reason;
    if (failed.length === waits.length) throw new Busy('the streams that want it can take no more now');
    for (const [at, outcome] of outcomes.entries())
      if (outcome.status === 'rejected') await this.#insist(message, flows[at]!);
  }

  async #insist(message: Message, flow: Taking): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      try {
        return await flow.take(message);
      } catch (error) {
        if (!(error instanceof Busy)) throw error;
      }
    }
  }

  #flowsFor(message: Message): Taking[] {
    const found = this.#tries.get(message.project)?.find(message.topic);
    if (!found || found.size === 0) return [];
    const known = this.#directory.device(message.project, message.device);
    const keys = new Set<string>();
    for (const want of found) if (isWanted(want, message, known)) keys.add(want.key);
    const flows: Taking[] = [];
    for (const key of keys) {
      const flow = this.#flowOf(key);
      if (flow) flows.push(flow);
    }
    return flows;
  }

  #learn(): void {
    const tries = new Map<string, TopicTrie<Want>>();
    for (const stream of this.#directory.all('stream')) {
      let trie = tries.get(stream.project);
      if (!trie) {
        trie = new TopicTrie();
        tries.set(stream.project, trie);
      }
      for (const want of wantsOf(stream)) trie.add(levelsOf(want.pattern), want);
    }
    this.#tries = tries;
  }
}

/** For the trie any device is meant; which one is seen when it is found. */
const levelsOf = (pattern: string): string =>
  pattern
    .split('/')
    .map((level) => (level.includes('%d') ? '+' : level))
    .join('/');
