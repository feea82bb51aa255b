import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@skerry/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ExecRequest, ExecSession, GuestSpec, Runtime } from '../port.ts';
import { createWorld, guestSpec, run, shell, type World } from './testing/world.ts';

let world: World;
let runtime: Runtime;
let guest: GuestSpec;
const signal = AbortSignal.timeout(300_000);
beforeAll(async () => {
  world = await createWorld();
  runtime = world.runtime();
  await runtime.start(signal);
  guest = guestSpec(world.images, { ...shell('while true; do sleep 1; done'), env: { MINE: 'too' } });
  await run(runtime, guest);
});
afterAll(() => world.end());

const open = (command: string[], request: Partial<ExecRequest> = {}) =>
  runtime.exec!.exec(guest.uid, { command, terminal: false, ...request }, signal);

async function collect(session: ExecSession) {
  const text = { stdout: '', stderr: '' };
  for await (const { stream, data } of session.output) text[stream] += Buffer.from(data).toString();
  return { ...text, code: await session.exit };
}

test('a command gives its outputs apart, in full, and its code', async () => {
  expect(
    await collect(
      await open(['/bin/sh', '-c', 'echo out $MINE $X; echo err >&2; exit 9'], { env: { X: '1' } }),
    ),
  ).toEqual({
    stdout: 'out too 1\n',
    stderr: 'err\n',
    code: 9,
  });
  const big = await collect(await open(['/bin/sh', '-c', 'yes 0123456 | head -c 8000000']));
  expect(big).toMatchObject({ code: 0, stderr: '' });
  expect(big.stdout).toHaveLength(8_000_000);
});

test('input reaches the command, and its end does too', async () => {
  const session = await open(['/bin/wc', '-c']);
  await session.write(Buffer.alloc(300_000, 'x'));
  await session.closeInput();
  expect(await collect(session)).toEqual({ stdout: '300000\n', stderr: '', code: 0 });
});

test('with a terminal it has one, of the size that was asked, and hears of a new size', async () => {
  const session = await open(['/bin/sh'], { terminal: true, columns: 91, rows: 31 });
  let seen = '';
  const reading = (async () => {
    for await (const { data } of session.output) seen += Buffer.from(data).toString();
  })();
  await session.write(Buffer.from('tty; stty size\n'));
  await eventually('terminal and size', () => seen.includes('/dev/pts/') && seen.includes('31 91'));
  await session.resize(120, 40);
  await session.write(Buffer.from('stty size\n'));
  await eventually('the new size', () => seen.includes('40 120'));
  await session.write(Buffer.from('exit 5\n'));
  expect(await session.exit).toBe(5);
  await reading;
});

test('a command that is not there, or is killed, says so; nothing of it stays', async () => {
  await expect(open(['/bin/no-such-program'])).rejects.toMatchObject({
    code: 'exec_failed',
    message: expect.stringContaining('no-such-program'),
  });
  const sleeping = await open(['/bin/sleep', '100']);
  await sleeping.kill();
  expect(await sleeping.exit).toBe(137);
  const folder = join(world.identity.runDir, 'exec', guest.uid);
  await eventually('its pipes are gone', () => !existsSync(folder) || readdirSync(folder).length === 0);
  const stranger = guestSpec(world.images);
  await expect(
    runtime.exec!.exec(stranger.uid, { command: ['/bin/true'], terminal: false }, signal),
  ).rejects.toMatchObject({ code: 'guest_not_running' });
});
