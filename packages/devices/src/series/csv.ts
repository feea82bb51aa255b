/** Points as CSV (RFC 4180), times in UTC (RFC 3339). A name that a spreadsheet would take for a formula begins with `'`. */
import type { SeriesPoint } from '@skerry/contract';

const PIECE_BYTES = 64 * 1024;

export function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export async function* csvOf(points: AsyncIterable<SeriesPoint>): AsyncGenerator<Uint8Array> {
  let piece = 'time,device,field,value\r\n';
  for await (const { atMs, device, field, value } of points) {
    piece += `${new Date(atMs).toISOString()},${csvCell(device)},${csvCell(field)},${value}\r\n`;
    if (piece.length >= PIECE_BYTES) {
      yield Buffer.from(piece);
      piece = '';
    }
  }
  yield Buffer.from(piece);
}
