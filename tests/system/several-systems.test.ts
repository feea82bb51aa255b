// Several operating systems on one machine at once: Linux of two architectures, a memory tester, and the project's own kernel.
// Each answers, or shows on its console or screen that it runs.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readPng } from '../support/png.ts';
import { type Program, ROOT, startProgram, skerry as typed } from '../support/program.ts';
import { typeOnScreen } from '../support/vnc.ts';

const MEMTEST = '/boot/memtest86+x64.bin';
/** Of the console's font on a screen without another one. */
const CELL = { width: 8, height: 16 };
let skerry: Program;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-screen-'));
  skerry = await startProgram();
  const disk = (name: string) => join(ROOT, 'guests', name, 'build/disk.qcow2');
  await skerry.run('image', 'import', disk('vm-arm64'), '--name', 'harbour-arm:1');
  await skerry.run('image', 'import', disk('vm-screen'), '--name', 'desk:1');
  await skerry.run('image', 'import', MEMTEST, '--name', 'memtest:1');
  await skerry.run('image', 'build', 'thermo', '--from', join(ROOT, 'guests/pebble/functions/thermo.ts'));
  // Two machines boot by UEFI in software: seconds on a quiet machine, minutes on a busy one.
  const apply = ['apply', '-f', join(ROOT, 'examples/several-systems.yaml'), '--wait', '--timeout', '4m'];
  const ran = await typed(apply, { env: { SKERRY_DATA: skerry.dataDir }, timeoutMs: 250_000 });
  expect(ran.code, ran.stderr).toBe(0);
}, 300_000);
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  expect(await skerry.purge()).toEqual([]);
});

const get = async (workload: string, path: string) => {
  const all = await skerry.json<Instance[]>('workload', 'instances');
  const { spec } = all.find((one) => one.spec.workload === workload)!;
  return (await fetch(`http://${spec.network!.address}:8080${path}`)).text();
};
const onDesk = async (script: string) =>
  (await skerry.try('workload', 'exec', 'desk', '--', '/bin/sh', '-c', script)).stdout;

test('Linux of two architectures and a kernel that is none answer side by side', async () => {
  expect(await get('harbour-arm', '/')).toMatch(/harbour-arm-0, Linux \S+-cloud-arm64 on aarch64/);
  expect(await get('desk', '/')).toMatch(/desk-0, Linux \S+-cloud-amd64 on x86_64/);
  expect(await get('thermo', '/healthz')).toMatch(/ok/);
});

test('a memory tester is seen to work on its console', async () => {
  const child = spawn(join(ROOT, 'bin/skerry'), ['workload', 'console', 'memtest'], {
    env: { ...process.env, SKERRY_DATA: skerry.dataDir },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let text = '';
  child.stdout.on('data', (data) => {
    text += data;
  });
  try {
    await eventually('it tests', () => /Status: Testing/.test(text) && /Errors: 0/.test(text));
  } finally {
    child.kill('SIGKILL');
    await new Promise((resolve) => child.on('close', resolve));
  }
});

/** The text of the guest's first console, and whether the picture of its screen shows it cell by cell. */
async function screen(): Promise<{ text: string; isShown: boolean }> {
  const [rows = 0, columns = 0] = (await onDesk('stty size </dev/tty1')).split(' ').map(Number);
  const text = await onDesk('cat /dev/vcs1');
  const file = join(folder, 'screen.png');
  await skerry.run('workload', 'screenshot', 'desk', '--to', file);
  const picture = readPng(readFileSync(file));
  if (picture.width !== columns * CELL.width || picture.height !== rows * CELL.height)
    return { text, isShown: false };
  const isLit = (row: number, column: number) => {
    for (
      let y = 0;
      y < CELL.height - 2;
      y++ // the cursor blinks in the last two lines
    )
      for (let x = 0; x < CELL.width; x++)
        if (picture.isLit(column * CELL.width + x, row * CELL.height + y)) return true;
    return false;
  };
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if ('_.,'.includes(char)) continue; // drawn where the cursor is
    if (isLit(Math.floor(at / columns), at % columns) !== (char !== ' ')) return { text, isShown: false };
  }
  return { text, isShown: true };
}

test('its screen shows a login, and what is typed on it logs in', async () => {
  await eventually('the agent inside answers', async () => (await onDesk('echo yes')) === 'yes\n');
  await eventually('the login is shown', async () => {
    const { text, isShown } = await screen();
    return isShown && text.includes('desk-0 login:');
  });
  const { socket } = await skerry.json<{ socket: string }>('workload', 'display', 'desk');
  expect(existsSync(socket)).toBe(true);
  await typeOnScreen(socket, 'guest\n');
  await eventually('the shell is shown', async () => {
    const { text, isShown } = await screen();
    return isShown && text.includes('login: guest') && text.includes('/tmp $');
  });
});
