/** What a folder of segments says at opening: torn ends are cut off, damage is counted and passed over. */
import { join } from 'node:path';
import type { QueueFiles } from './files.ts';
import { scan } from './record.ts';
import { Segment } from './segment.ts';

const NAME = /^(\d{16})\.log$/;
export const segmentPath = (folder: string, base: number): string =>
  join(folder, `${String(base).padStart(16, '0')}.log`);

export interface Found {
  readonly segments: Segment[];
  readonly marks: Map<string, unknown>;
  readonly acknowledged: number;
  readonly lastPosition: number;
  readonly damaged: number;
}

export async function readFolder(files: QueueFiles, folder: string): Promise<Found> {
  await files.prepare(folder);
  const names = (await files.list(folder)).sort();
  // A segment that was being written anew when the power went.
  await Promise.all(
    names.filter((name) => name.endsWith('.new')).map((name) => files.remove(join(folder, name))),
  );
  const bases = names.flatMap((name) => {
    const base = NAME.exec(name)?.[1];
    return base === undefined ? [] : [Number(base)];
  });
  const [segments, marks]: [Segment[], Map<string, unknown>] = [[], new Map()];
  let [acknowledged, lastPosition, damaged] = [0, 0, 0];
  for (const [at, base] of bases.entries()) {
    const segment = new Segment(files, segmentPath(folder, base), base);
    const bytes = await segment.readAll();
    const found = scan(bytes);
    damaged += found.damaged;
    const last = at === bases.length - 1;
    if (!last && found.soundBytes < bytes.length) damaged++;
    lastPosition = Math.max(lastPosition, base - 1);
    for (const { record, at: offset, bytes: length } of found.records) {
      if (record.kind === 'mark') marks.set(record.name, record.value);
      else if (record.kind === 'acknowledged') acknowledged = Math.max(acknowledged, record.upTo);
      else if (record.entry.position > segment.lastPosition) {
        const { position, atMs, priority } = record.entry;
        segment.index(position, offset, length, atMs, priority);
        lastPosition = position;
      }
    }
    if (last) await segment.cutTo(found.soundBytes);
    else {
      segment.bytes = bytes.length;
      segment.durableBytes = bytes.length;
      await segment.close();
    }
    segments.push(segment);
  }
  return { segments, marks, acknowledged, lastPosition: Math.max(lastPosition, acknowledged), damaged };
}
