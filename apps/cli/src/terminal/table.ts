/** Tables for people: columns as wide as their content, headings in capitals, nothing drawn that a pipe would trip over. */

export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string | number | undefined;
  readonly right?: boolean;
}

const GAP = '   ';

/** A column of text is not made narrower than this. */
const LEAST = 8;
/** Of names and words; numbers are never cut. */
const cut = (text: string, width: number) => (text.length > width ? `${text.slice(0, width - 1)}…` : text);

/** Messages may have words of guests in them: a cell is one line and can not draw on the terminal. */
const plain = (value: string | number | undefined) => String(value ?? '-').replace(/\p{Cc}+/gu, ' ');

/** Takes from the widest columns of text, one character after the other, until a line fits or none can give more. */
function fit(widths: number[], canGive: readonly boolean[], width: number): void {
  const total = () => widths.reduce((sum, one) => sum + one, 0) + GAP.length * (widths.length - 1);
  for (let over = total() - width; over > 0; over--) {
    let widest = -1;
    for (const [at, one] of widths.entries())
      if (canGive[at] && one > LEAST && (widest < 0 || one > widths[widest]!)) widest = at;
    if (widest < 0) return;
    widths[widest]!--;
  }
}

/** A line that is too long for `width` loses what its widest columns have too much of; the whole is in JSON and YAML. */
export function formatTable<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  width = Number.POSITIVE_INFINITY,
): string {
  const cells = rows.map((row) => columns.map((column) => plain(column.value(row))));
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...cells.map((line) => line[i]!.length)),
  );
  if (Number.isFinite(width))
    fit(
      widths,
      columns.map(({ right }) => right !== true),
      width,
    );
  const line = (texts: readonly string[]) => {
    const text = texts
      .map((cell, i) =>
        columns[i]!.right ? cell.padStart(widths[i]!) : cut(cell, widths[i]!).padEnd(widths[i]!),
      )
      .join(GAP)
      .trimEnd();
    return text.length > width ? cut(text, Math.max(width, 2)) : text;
  };
  return [line(columns.map((column) => column.title)), ...cells.map(line)].join('\n');
}
