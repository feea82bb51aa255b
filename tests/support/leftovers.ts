/**
 * Everything on this machine that carries the identity of a data folder: what must be gone after `skerry down --purge`.
 * Looks at the kernel's own lists, not at what the program believes.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

const lines = (file: string, args: string[]) => {
  try {
    return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n');
  } catch {
    return [];
  }
};

function processesOf(marks: readonly string[]): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return marks.some((mark) => command.includes(mark))
          ? [`process ${pid}: ${command.slice(0, 160)}`]
          : [];
      } catch {
        return [];
      }
    });
}

function cgroupsOf(id: string): string[] {
  const found: string[] = [];
  const visit = (folder: string, depth: number) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const path = `${folder}/${entry.name}`;
      if (entry.name.includes(`skerry-${id}`)) found.push(`cgroup: ${path}`);
      else if (depth > 0) visit(path, depth - 1);
    }
  };
  if (existsSync('/sys/fs/cgroup')) visit('/sys/fs/cgroup', 4);
  return found;
}

/** One line for each thing that is left. `id`: the identity; `dataDir`: for processes and mounts. */
export function leftoversOf(id: string, dataDir: string): string[] {
  const marks = [id, dataDir];
  const has = (text: string) => marks.some((mark) => text.includes(mark));
  return [
    ...processesOf(marks),
    ...readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter(has)
      .map((line) => `mount: ${line}`),
    ...lines('ip', ['-o', 'link'])
      .filter(has)
      .map((line) => `link: ${line}`),
    ...lines('ip', ['netns', 'list'])
      .filter(has)
      .map((line) => `netns: ${line}`),
    ...lines('nft', ['list', 'tables'])
      .filter(has)
      .map((line) => `nft: ${line}`),
    ...cgroupsOf(id),
    ...(existsSync(`/run/skerry/${id}`) ? [`files: /run/skerry/${id}`] : []),
    ...lines('losetup', ['-l', '-n', '-O', 'BACK-FILE'])
      .filter(has)
      .map((line) => `loop device: ${line}`),
  ];
}
