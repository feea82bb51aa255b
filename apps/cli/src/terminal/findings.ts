/** Findings of the doctor for people: what works, folded at the width of the terminal, with what to do below it. */
import type { ProbeFinding } from '@skerry/model';

const MARKS = { ok: 'ok  ', degraded: 'part', missing: 'no  ' } as const;
/** Narrower than this, a column of text is harder to read than lines that the terminal folds. */
const LEAST_TEXT = 30;

/** Words in lines of at most `width` characters; what is longer (a path, a command) has a line of its own. */
export function fold(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

export function formatFindings(
  name: string,
  findings: readonly ProbeFinding[],
  width = Number.POSITIVE_INFINITY,
): string {
  const names = Math.max(...findings.map((finding) => finding.name.length), 0);
  const indent = MARKS.ok.length + 1 + names + 2;
  const room = width - indent < LEAST_TEXT ? Number.POSITIVE_INFINITY : width - indent;
  const below = (text: string) => `${' '.repeat(indent)}${text}`;
  const lines = findings.flatMap((finding) => {
    const [first = '', ...more] = fold(finding.text, room);
    const remedy = finding.remedy === undefined ? [] : fold(finding.remedy, room - 2);
    return [
      `${MARKS[finding.level]} ${finding.name.padEnd(names)}  ${first}`,
      ...more.map(below),
      ...remedy.map((line, at) => below(`${at === 0 ? '→' : ' '} ${line}`)),
    ];
  });
  return [name, ...lines, summary(findings)].join('\n');
}

function summary(findings: readonly ProbeFinding[]): string {
  const count = (level: ProbeFinding['level']) =>
    findings.filter((finding) => finding.level === level).length;
  const [ok, part, no] = [count('ok'), count('degraded'), count('missing')];
  return `${ok} ok, ${part} in part, ${no} not${part + no === 0 ? '' : '; → says what to do'}`;
}
