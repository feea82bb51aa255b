// Real control groups of this machine, below a group that only this test has.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { eventually } from '@skerry/testkit';
import { afterEach, expect, test } from 'vitest';
import {
  cgroupChildren,
  cgroupFolders,
  cgroupMode,
  cgroupOomKills,
  cgroupProcesses,
  cgroupUsage,
  makeCgroup,
  readCgroup,
  removeCgroup,
} from './index.ts';

const MiB = 1024 * 1024;
const parent = `/skerry-test-${randomBytes(4).toString('hex')}`;
const path = `${parent}/guest`;
const limits = { cpus: 0.5, memoryBytes: 64 * MiB, pids: 16 };
const v2 = cgroupMode() === 'v2';

afterEach(() => {
  expect(removeCgroup(parent)).toBe(true);
});

/** A program that enters the group before it does anything else. */
function inside(entries: readonly string[], script: string) {
  const enter = `for (const file of ${JSON.stringify(entries)}) require('node:fs').writeFileSync(file, '0');`;
  return spawn(process.execPath, ['-e', enter + script], { stdio: ['ignore', 'pipe', 'ignore'] });
}

test('a group is made with its limits, may be made again, and goes away in every tree', () => {
  makeCgroup(path, limits);
  makeCgroup(path, { ...limits, cpus: 2 });
  expect(readCgroup(path, 'pids', 'pids.max')).toBe('16');
  expect(readCgroup(path, 'memory', v2 ? 'memory.max' : 'memory.limit_in_bytes')).toBe(String(64 * MiB));
  const quota = v2 ? readCgroup(path, '', 'cpu.max') : readCgroup(path, 'cpu', 'cpu.cfs_quota_us');
  expect(quota).toMatch(/^200000/);
  expect(cgroupChildren(parent)).toEqual(['guest']);
  expect(removeCgroup(path)).toBe(true);
  expect(cgroupFolders(path)).toEqual([]);
  expect(cgroupChildren(parent)).toEqual([]);
  expect(removeCgroup(path)).toBe(true);
});

test('the smallest share of a processor is one that the kernel takes', () => {
  makeCgroup(path, { ...limits, cpus: 0.001 });
  const quota = v2 ? readCgroup(path, '', 'cpu.max') : readCgroup(path, 'cpu', 'cpu.cfs_quota_us');
  expect(quota).toMatch(/^1000( |$)/);
});

test('what runs inside is known, measured, and keeps the group from being removed', async () => {
  const child = inside(
    makeCgroup(path, limits),
    'const end = Date.now() + 100; while (Date.now() < end); console.log("busy"); setInterval(() => {}, 1e6)',
  );
  try {
    await once(child.stdout, 'data');
    expect(cgroupProcesses(path)).toEqual([child.pid]);
    const usage = cgroupUsage(path);
    expect(usage.cpuMs).toBeGreaterThan(20);
    expect(usage.memoryBytes).toBeGreaterThan(MiB);
    expect(usage.pids).toBeGreaterThan(0);
    expect(removeCgroup(path)).toBe(false);
    expect(cgroupFolders(path).every((folder) => existsSync(folder))).toBe(true);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await eventually('the group is empty', () => cgroupProcesses(path).length === 0);
});

test('who eats more memory than the group has is ended, and that is counted', async () => {
  const entries = makeCgroup(path, limits);
  // without swap to hide in, where the kernel counts it for each group
  for (const folder of cgroupFolders(path)) {
    const swap = `${folder}/${v2 ? 'memory.swap.max' : 'memory.memsw.limit_in_bytes'}`;
    if (existsSync(swap)) writeFileSync(swap, String(v2 ? 0 : limits.memoryBytes));
  }
  expect(cgroupOomKills(path)).toBe(0);
  const child = inside(entries, 'const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1));');
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  expect(cgroupOomKills(path)).toBeGreaterThan(0);
});

test('the root of all groups is never removed, and a group that is missing has nothing', () => {
  expect(removeCgroup('/')).toBe(false);
  expect(cgroupProcesses(path)).toEqual([]);
  expect(cgroupUsage(path)).toEqual({});
  expect(cgroupOomKills(path)).toBe(0);
});
