/** Reads a whole prefix, page by page: an engine may bound its answers. */
import type { Entry, Store } from '@skerry/store';

export async function listAll(store: Store, prefix: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  let after: string | undefined;
  do {
    const page = await store.list(prefix, after === undefined ? {} : { after });
    entries.push(...page.entries);
    after = page.next;
  } while (after !== undefined);
  return entries;
}
