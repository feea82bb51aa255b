/** Tables for people: columns as wide as their content, headings in capitals, nothing drawn that a pipe would trip over. */

export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string | number | undefined;
  readonly right?: boolean;
}

const GAP = '   ';

export function formatTable<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  width = Number.POSITIVE_INFINITY,
): string {
  const cells = rows.map((row) => columns.map((column) => String(column.value(row) ?? '-')));
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...cells.map((line) => line[i]!.length)),
  );
  const line = (texts: readonly string[]) => {
    const text = texts
      .map((cell, i) => (columns[i]!.right ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join(GAP)
      .trimEnd();
    return text.length > width ? `${text.slice(0, Math.max(width - 1, 1))}…` : text;
  };
  return [line(columns.map((column) => column.title)), ...cells.map(line)].join('\n');
}
