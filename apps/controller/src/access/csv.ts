/** Comma-separated values (RFC 4180) with a line of titles, to records that know their line. Pure. */
import { manifestInvalid } from '@skerry/contract/schema';

export interface CsvRecord {
  /** Of its first line in the text, from 1. */
  readonly line: number;
  /** By title, in lower case. Empty fields are absent. */
  readonly fields: Readonly<Record<string, string>>;
}

interface Row {
  readonly line: number;
  readonly cells: string[];
}

function rowsOf(text: string): Row[] {
  const rows: Row[] = [];
  let cells: string[] = [];
  let cell = '';
  let isQuoted = false;
  let line = 1;
  let rowLine = 1;
  const endRow = () => {
    cells.push(cell);
    if (cells.length > 1 || cell.trim() !== '') rows.push({ line: rowLine, cells });
    cells = [];
    cell = '';
  };
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === '\n') line++;
    if (isQuoted) {
      if (char !== '"') cell += char;
      else if (text[at + 1] === '"') {
        cell += '"';
        at++;
      } else isQuoted = false;
    } else if (char === '"' && cell.trim() === '') {
      cell = '';
      isQuoted = true;
    } else if (char === ',') {
      cells.push(cell);
      cell = '';
    } else if (char === '\n') {
      endRow();
      rowLine = line;
    } else if (char !== '\r') cell += char;
  }
  if (isQuoted)
    throw manifestInvalid([{ line: rowLine, field: '', message: 'a quotation mark is never closed' }]);
  endRow();
  return rows;
}

/** Errors: manifest_invalid with the line: a quotation mark that stays open, more fields than titles, no titles. */
export function parseCsv(text: string): CsvRecord[] {
  const [first, ...rows] = rowsOf(text.replace(/^\uFEFF/, ''));
  const titles = first?.cells.map((title) => title.trim().toLowerCase()) ?? [];
  if (!first || titles.every((title) => title === ''))
    throw manifestInvalid([{ line: 1, field: '', message: 'there is no line of titles' }]);
  return rows.map(({ line, cells }) => {
    if (cells.length > titles.length) {
      const message = `has ${cells.length} fields, and there are ${titles.length} titles`;
      throw manifestInvalid([{ line, field: '', message }]);
    }
    const pairs = cells.map((cell, at) => [titles[at]!, cell.trim()] as const);
    return { line, fields: Object.fromEntries(pairs.filter(([title, cell]) => title !== '' && cell !== '')) };
  });
}
