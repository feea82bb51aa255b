import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { cgroupFolder } from './cgroup.ts';
import { CgroupEntry } from './cgroup-entry.ts';

const inside = () => readFileSync('/proc/self/cgroup', 'utf8');
const releases: (() => void)[] = [];
afterEach(() => {
  for (const release of releases.splice(0)) release();
});

test('holding the entry moves no process, and letting go twice is letting go once', async () => {
  const entry = new CgroupEntry();
  const before = inside();
  const first = entry.hold();
  const second = entry.hold();
  releases.push(first, second);
  first();
  first();
  await new Promise((resolve) => setImmediate(resolve));
  expect(inside()).toBe(before);
  second();
  expect(inside()).toBe(before);
});

test.skipIf(process.getuid?.() !== 0)('a group can be entered and left while it is held', () => {
  const entry = new CgroupEntry();
  releases.push(entry.hold());
  const home = /:(?:\S*,)?pids(?:,\S*)?:(.*)|^0::(.*)$/m.exec(inside())!;
  const parent = cgroupFolder(home[1] ?? home[2] ?? '/', 'pids');
  const group = join(parent, `sk-entry-${process.pid}`);
  mkdirSync(group);
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(process.pid));
    expect(inside()).toContain(`sk-entry-${process.pid}`);
  } finally {
    writeFileSync(join(parent, 'cgroup.procs'), String(process.pid));
    rmdirSync(group);
  }
});
