/** Tables of Markdown, aligned by nobody: the text is for readers of the rendered page and for diffs. */

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(titles), `|${titles.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

export const code = (text: string): string => `\`${text}\``;

/** A page that is made by `make docs`: a heading, a hint for whoever would edit it, its parts. */
export const page = (title: string, source: string, ...parts: readonly string[]): string =>
  `${[`# ${title}`, `<!-- Made by \`make docs\` from ${source}: change it there. -->`, ...parts].join('\n\n')}\n`;
