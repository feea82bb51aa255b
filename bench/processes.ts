/** What processes cost, read from /proc: proportional memory (PSS), resident memory, processor time. Only reads. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it ended meanwhile
  }
};

const kilobytes = (text: string, field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;

/** Memory in bytes; what several processes share is split among them. */
export const pssBytes = (pid: number): number => kilobytes(read(`/proc/${pid}/smaps_rollup`), 'Pss');
export const rssBytes = (pid: number): number => kilobytes(read(`/proc/${pid}/status`), 'VmRSS');

let ticksPerSecond: number | undefined;

/** Processor time of the process and its threads, in milliseconds; steps of a tick (10 ms). */
export function cpuMs(pid: number): number {
  ticksPerSecond ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  const fields = read(`/proc/${pid}/stat`).split(') ')[1]?.split(' ') ?? [];
  return ((Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond) * 1000;
}

export const parentOf = (pid: number): number =>
  Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1]);

/** Every process whose command line has one of the marks, and all that descend from them. */
export function processesOf(marks: readonly string[]): number[] {
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid);
  const parents = new Map(pids.map((pid) => [pid, parentOf(pid)]));
  const ours = new Set(
    pids.filter((pid) => {
      const command = read(`/proc/${pid}/cmdline`);
      return marks.some((mark) => command.includes(mark));
    }),
  );
  for (let before = -1; before !== ours.size; ) {
    before = ours.size;
    for (const [pid, parent] of parents) if (ours.has(parent)) ours.add(pid);
  }
  return [...ours];
}

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Proportional memory of a QEMU without its guest's own, which is a shared file of memory (memfd). */
export function hypervisorBytes(pid: number): number {
  let own = 0;
  let isGuests = false;
  for (const line of read(`/proc/${pid}/smaps`).split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) isGuests = line.includes('/memfd:');
    else if (!isGuests && line.startsWith('Pss:')) own += Number(/(\d+) kB/.exec(line)?.[1] ?? 0) * 1024;
  }
  return own;
}

/**
 * What a guest more costs: pages that this process wrote, also where they are swapped out, without its guest's own memory.
 * Clean private pages are of QEMU's program files: they are in the page cache once for all guests, counted as private only
 * while a single one runs, and go by themselves where memory is short. `hypervisorBytes` has them.
 */
export function ownBytes(pid: number): number {
  let own = 0;
  let isGuests = false;
  for (const line of read(`/proc/${pid}/smaps`).split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) isGuests = line.includes('/memfd:');
    else if (!isGuests && /^(Private_Dirty|Swap):/.test(line))
      own += Number(/(\d+) kB/.exec(line)?.[1] ?? 0) * 1024;
  }
  return own;
}
