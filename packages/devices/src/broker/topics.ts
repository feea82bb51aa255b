/** Topics and filters (MQTT 5.0, section 4.7), and a tree that finds the filters which a topic matches. */

/** Levels of a topic and of a filter: each costs a step of the search. */
export const LEVELS_LIMIT = 32;
export const TOPIC_BYTES_LIMIT = 1024;

const bounded = (text: string): boolean =>
  text.length > 0 && Buffer.byteLength(text) <= TOPIC_BYTES_LIMIT && text.split('/').length <= LEVELS_LIMIT;

export const isTopic = (topic: string): boolean =>
  bounded(topic) && !topic.includes('+') && !topic.includes('#');

export function isFilter(filter: string): boolean {
  if (!bounded(filter)) return false;
  const levels = filter.split('/');
  return levels.every(
    (level, at) =>
      level === '+' ||
      (level === '#' ? at === levels.length - 1 : !level.includes('+') && !level.includes('#')),
  );
}

/** `$share/<group>/<filter>`, in its parts; undefined: it is no shared subscription. */
export function sharedParts(filter: string): { readonly group: string; readonly filter: string } | undefined {
  const match = /^\$share\/([^/+#]+)\/(.+)$/s.exec(filter);
  return match ? { group: match[1]!, filter: match[2]! } : undefined;
}

interface Branch<T> {
  readonly below: Map<string, Branch<T>>;
  readonly here: Map<string, T>;
}
const branch = <T>(): Branch<T> => ({ below: new Map(), here: new Map() });

/** Values by filter, several at each, told apart by a key. */
export class FilterTree<T> {
  readonly #root: Branch<T> = branch();

  set(filter: string, key: string, value: T): void {
    let at = this.#root;
    for (const level of filter.split('/')) {
      let next = at.below.get(level);
      if (!next) {
        next = branch();
        at.below.set(level, next);
      }
      at = next;
    }
    at.here.set(key, value);
  }

  delete(filter: string, key: string): void {
    const way: [Branch<T>, string][] = [];
    let at = this.#root;
    for (const level of filter.split('/')) {
      const next = at.below.get(level);
      if (!next) return;
      way.push([at, level]);
      at = next;
    }
    at.here.delete(key);
    for (const [above, level] of way.reverse()) {
      const below = above.below.get(level)!;
      if (below.here.size > 0 || below.below.size > 0) return;
      above.below.delete(level);
    }
  }

  /** Every value whose filter matches; a wildcard at the beginning does not match a topic that begins with `$`. */
  match(topic: string, found: (value: T) => void): void {
    const levels = topic.split('/');
    const give = (at: Branch<T> | undefined) => at?.here.forEach(found);
    const look = (at: Branch<T>, index: number): void => {
      const wild = index > 0 || !topic.startsWith('$');
      if (wild) give(at.below.get('#'));
      if (index === levels.length) {
        give(at);
        return;
      }
      const exact = at.below.get(levels[index]!);
      if (exact) look(exact, index + 1);
      const any = wild ? at.below.get('+') : undefined;
      if (any) look(any, index + 1);
    };
    look(this.#root, 0);
  }
}

/** Whether a filter matches a topic. */
export function matches(filter: string, topic: string): boolean {
  const tree = new FilterTree<true>();
  tree.set(filter, '', true);
  let found = false;
  tree.match(topic, () => {
    found = true;
  });
  return found;
}
