/** What a benchmark found, as text for a terminal, as Markdown and as JSON. Names no machine: counts and versions only. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, getPriority, release, totalmem } from 'node:os';

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}
export interface Verdict {
  readonly promise: string;
  readonly measured: string;
  readonly kept: boolean;
}
export interface Finding {
  readonly id: string;
  readonly title: string;
  readonly verdicts: readonly Verdict[];
  readonly tables: readonly Table[];
  /** How it was measured, and what a reader must know to judge it. */
  readonly notes: readonly string[];
  /** Every sample, for later comparison. */
  readonly samples: Readonly<Record<string, readonly number[]>>;
}
export interface Surroundings {
  readonly processors: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly qemu: string;
  readonly containerd: string;
  readonly docker: string;
  /** nice(1) value under which Skerry, its peers and the load ran. */
  readonly niceness: number;
  /** Percent of the minute before the first benchmark in which something waited for a processor: other work. */
  readonly busyBeforePercent?: number;
}

function version(file: string, args: readonly string[]): string {
  try {
    const text = execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return /\d+\.\d+(\.\d+)?/.exec(text)?.[0] ?? 'unknown';
  } catch {
    return 'none';
  }
}

/** Percent of the last minute in which something wanted a processor and got none (PSI); undefined without. */
export function pressure(): number | undefined {
  try {
    return Number(/some .*avg60=([\d.]+)/.exec(readFileSync('/proc/pressure/cpu', 'utf8'))?.[1]);
  } catch {
    return undefined;
  }
}

export function surroundings(): Surroundings {
  const busy = pressure();
  return {
    niceness: getPriority(),
    processors: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: /^\d+\.\d+/.exec(release())?.[0] ?? 'unknown',
    node: process.versions.node,
    qemu: version('qemu-system-x86_64', ['--version']),
    containerd: version('containerd', ['--version']),
    docker: version('dockerd', ['--version']),
    ...(busy === undefined ? {} : { busyBeforePercent: busy }),
  };
}

function aligned({ title, columns, rows }: Table): string {
  const all = [columns, ...rows];
  const widths = columns.map((_, at) => Math.max(...all.map((row) => (row[at] ?? '').length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join('  ')
      .trimEnd();
  return [`  ${title}`, ...all.map((row) => `    ${line(row)}`)].join('\n');
}

export const asText = (finding: Finding): string =>
  [
    `\n${finding.title}`,
    ...finding.tables.map(aligned),
    ...finding.notes.map((note) => `  ${note}`),
    ...finding.verdicts.map(
      ({ promise, measured, kept }) => `  ${kept ? 'kept  ' : 'MISSED'}  ${promise}: ${measured}`,
    ),
  ].join('\n');

const cells = (row: readonly string[]) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
const markdownTable = (columns: readonly string[], rows: readonly (readonly string[])[]) =>
  [cells(columns), cells(columns.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(cells)].join('\n');

export function asMarkdown(findings: readonly Finding[], where: Surroundings): string {
  const verdicts = findings.flatMap((finding) => finding.verdicts);
  return `${[
    '# Measured',
    `${where.processors} processors, ${where.memoryGiB} GiB, Linux ${where.kernel}, Node.js ${where.node}, QEMU ${where.qemu}, containerd ${where.containerd}, Docker ${where.docker}. Niceness ${where.niceness}, for Skerry and its peers alike. Written by \`make bench\`.${where.busyBeforePercent === undefined ? '' : ` In the minute before, something waited for a processor ${where.busyBeforePercent} % of the time: what other work there is makes every figure worse, and ratios count more than times.`}`,
    markdownTable(
      ['promise', 'measured', 'kept'],
      verdicts.map(({ promise, measured, kept }) => [promise, measured, kept ? 'yes' : '**no**']),
    ),
    ...findings.flatMap((finding) => [
      `## ${finding.title}`,
      ...finding.tables.flatMap(({ title, columns, rows }) => [`${title}:`, markdownTable(columns, rows)]),
      ...finding.notes,
    ]),
  ].join('\n\n')}\n`;
}
