/**
 * A file of JSON lines at the node: a line for each message, on the disk before it counts as taken. At its limit it becomes
 * `<name>.1.jsonl`, and so on, up to as many as are kept. The ids of its end are known, so a repetition is not written twice.
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseBytes, type StreamSink } from '@skerry/model';
import type { Outgoing, Sink } from '../ports.ts';
import { asRecord } from './names.ts';

type FileSpec = Extract<StreamSink, { file: unknown }>['file'];
const DEFAULTS = { rotateBytes: 64 * 2 ** 20, keep: 8, batch: 500 } as const;
/** Repetitions follow a crash at once: so many ids back they are looked for. */
const IDS = 20_000;

export function fileSink(folder: string, spec: FileSpec): Sink {
  const rotateBytes = spec.rotate === undefined ? DEFAULTS.rotateBytes : parseBytes(spec.rotate);
  const keep = spec.keep ?? DEFAULTS.keep;
  const path = join(folder, `${spec.name}.jsonl`);
  const former = (number: number) => join(folder, `${spec.name}.${number}.jsonl`);
  let file: FileHandle | undefined;
  let bytes = 0;
  const ids = new Set<string>();
  const remember = (id: string) => {
    ids.add(id);
    if (ids.size > IDS) ids.delete(ids.values().next().value!);
  };

  /** Ids of the lines; a torn last line is cut off. */
  const readIds = async (from: string, cut: boolean): Promise<void> => {
    const found = await open(from, cut ? 'r+' : 'r').catch(() => undefined);
    if (!found) return;
    try {
      const { size } = await found.stat();
      let sound = 0;
      const lines = createInterface({ input: createReadStream(from), crlfDelay: Number.POSITIVE_INFINITY });
      for await (const line of lines) {
        const end = sound + Buffer.byteLength(line) + 1;
        if (end > size) break; // no line feed: it was being written
        sound = end;
        const id = /^\{"id":"([^"\\]*)"/.exec(line)?.[1];
        if (id !== undefined) remember(id);
      }
      if (cut && sound < size) await found.truncate(sound);
    } finally {
      await found.close();
    }
  };

  const begin = async (): Promise<FileHandle> => {
    if (file) return file;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (ids.size === 0) {
      await readIds(former(1), false);
      await readIds(path, true);
    }
    file = await open(path, 'a', 0o600);
    bytes = (await file.stat()).size;
    return file;
  };
  const rotate = async (): Promise<void> => {
    await file?.close();
    file = undefined;
    await rm(former(keep - 1), { force: true });
    for (let number = keep - 2; number >= 1; number--)
      await rename(former(number), former(number + 1)).catch(() => undefined);
    if (keep > 1) await rename(path, former(1));
    else await rm(path, { force: true });
  };

  return {
    kind: 'file',
    batch: DEFAULTS.batch,
    async deliver(batch: readonly Outgoing[]) {
      try {
        let to = await begin();
        const fresh = batch.filter(({ id }) => !ids.has(id));
        const text = fresh.map((message) => `${JSON.stringify(asRecord(message))}\n`).join('');
        if (bytes > 0 && bytes + text.length > rotateBytes) {
          await rotate();
          to = await begin();
        }
        const data = Buffer.from(text);
        await to.appendFile(data);
        await to.datasync();
        bytes += data.length;
        for (const { id } of fresh) remember(id);
      } catch (error) {
        // What is on the disk nobody knows: it is read again.
        await file?.close().catch(() => undefined);
        file = undefined;
        ids.clear();
        throw error;
      }
    },
    async close() {
      await file?.close();
      file = undefined;
    },
  };
}
