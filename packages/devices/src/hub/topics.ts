/** MQTT topics and filters: what matches, what covers what, and which streams a topic concerns. Pure. */

/** In bytes of UTF-8 a topic may have 65,535 (MQTT 5, 1.5.4); what devices name is far shorter. */
export const LONGEST_TOPIC = 1024;

/** `%d` of a pattern stands for the device. */
export const forDevice = (pattern: string, device: string): string => pattern.replaceAll('%d', device);

export function isTopic(topic: string): boolean {
  return (
    topic.length > 0 &&
    Buffer.byteLength(topic) <= LONGEST_TOPIC &&
    !topic.includes('+') &&
    !topic.includes('#') &&
    !topic.includes('\u0000')
  );
}

/** Whether a topic is one of a filter's. Filters that begin with a wildcard do not have topics that begin with `$` (MQTT 5, 4.7.2). */
export function matches(filter: string, topic: string): boolean {
  const [wanted, levels] = [filter.split('/'), topic.split('/')];
  if (topic.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false;
  for (const [at, level] of wanted.entries()) {
    if (level === '#') return true;
    if (at >= levels.length || (level !== '+' && level !== levels[at])) return false;
  }
  return wanted.length === levels.length;
}

/** Whether every topic of `filter` is one of `by`. */
export function covers(by: string, filter: string): boolean {
  const [outer, inner] = [by.split('/'), filter.split('/')];
  if (inner[0]?.startsWith('$') && (outer[0] === '+' || outer[0] === '#')) return false;
  for (const [at, level] of outer.entries()) {
    if (level === '#') return true;
    const other = inner[at];
    if (other === undefined || other === '#') return false;
    if (level !== '+' && level !== other) return false;
  }
  // `a/#` has the topic `a` itself, too
  return inner.length === outer.length;
}

interface Level<T> {
  readonly next: Map<string, Level<T>>;
  /** Filters that end here. */
  here: Set<T> | undefined;
  /** Filters that end here with `#`. */
  below: Set<T> | undefined;
}
const emptyLevel = <T>(): Level<T> => ({ next: new Map(), here: undefined, below: undefined });

/** Filters and what each leads to; a topic finds all of its filters in time that grows with its levels, not with their number. */
export class TopicTrie<T> {
  readonly #root: Level<T> = emptyLevel();

  add(filter: string, value: T): void {
    let level = this.#root;
    for (const word of filter.split('/')) {
      if (word === '#') {
        level.below ??= new Set();
        level.below.add(value);
        return;
      }
      let next = level.next.get(word);
      if (!next) {
        next = emptyLevel();
        level.next.set(word, next);
      }
      level = next;
    }
    level.here ??= new Set();
    level.here.add(value);
  }

  /** Each value once, in no order. */
  find(topic: string): Set<T> {
    const found = new Set<T>();
    const words = topic.split('/');
    const take = (values: Set<T> | undefined) => {
      if (values) for (const value of values) found.add(value);
    };
    const walk = (level: Level<T>, at: number) => {
      const wild = at > 0 || !topic.startsWith('$');
      if (wild) take(level.below);
      const word = words[at];
      if (word === undefined) return take(level.here);
      const same = level.next.get(word);
      if (same) walk(same, at + 1);
      const any = wild ? level.next.get('+') : undefined;
      if (any) walk(any, at + 1);
    };
    walk(this.#root, 0);
    return found;
  }
}
