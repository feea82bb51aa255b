/** Points as Apache Parquet: time (UTC, milliseconds), device, field, value; a group of rows at a time is in memory. */
import type { SeriesPoint } from '@skerry/contract';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';

const GROUP_ROWS = 20_000;

export async function* parquetOf(points: AsyncIterable<SeriesPoint>): AsyncGenerator<Uint8Array> {
  const writer = new ByteWriter();
  const file = new ParquetWriter({
    writer,
    schema: [
      { name: 'root', num_children: 4 },
      { name: 'time', type: 'INT64', converted_type: 'TIMESTAMP_MILLIS', repetition_type: 'REQUIRED' },
      { name: 'device', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
      { name: 'field', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
      { name: 'value', type: 'DOUBLE', repetition_type: 'REQUIRED' },
    ],
    createdBy: 'skerry',
  });
  /** What is written goes out and makes room; `offset`, by which the file's own places are told, goes on. */
  const written = (): Uint8Array => {
    const bytes = Buffer.from(writer.getBytes());
    writer.index = 0;
    return bytes;
  };
  let group: SeriesPoint[] = [];
  const write = async () => {
    await file.write({
      columnData: [
        { name: 'time', data: group.map(({ atMs }) => new Date(atMs)) },
        { name: 'device', data: group.map(({ device }) => device) },
        { name: 'field', data: group.map(({ field }) => field) },
        { name: 'value', data: group.map(({ value }) => value) },
      ],
      rowGroupSize: GROUP_ROWS,
    });
    group = [];
  };
  for await (const point of points) {
    group.push(point);
    if (group.length < GROUP_ROWS) continue;
    await write();
    yield written();
  }
  if (group.length > 0) await write();
  await file.finish();
  yield written();
}
