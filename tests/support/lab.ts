/** A lab as a user runs it, in a folder of its own, with what a test asks of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { leftoversOf } from './leftovers.ts';
import { type Ran, ROOT, skerry } from './program.ts';

export interface RunningLab {
  readonly name: string;
  readonly id: string;
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  /** `skerry lab …`; fails the test when it fails. */
  lab(...args: string[]): Promise<string>;
  try(...args: string[]): Promise<Ran>;
  /** A command against its controller. */
  ask<T>(...args: string[]): Promise<T>;
  /** A command against its controller that answers nothing; fails the test when it fails. */
  tell(args: readonly string[], input?: string): Promise<void>;
  /** On a client or node; never fails. */
  exec(name: string, ...command: string[]): Promise<Ran>;
  /** The same, going on while the test does other things. */
  begin(name: string, ...command: string[]): ChildProcess & { readonly said: () => string };
  /** Smallest round trip of a few, in ms; undefined: no answer. */
  roundTripMs(from: string, to: string): Promise<number | undefined>;
  /** Removes the lab. Returns what is left of it on the machine. */
  down(): Promise<string[]>;
}

const LIMIT_MS = 120_000;

/** Errors: what `skerry lab up` said. */
export async function startLab(
  file: string,
  parent = mkdtempSync(join(tmpdir(), 'skerry-lab-')),
): Promise<RunningLab> {
  const name = /"?kind"?: ?"?Lab"?,?\s*"?metadata"?: ?\{ ?"?name"?: ?"?([a-z0-9-]+)/.exec(
    readFileSync(file, 'utf8'),
  )![1]!;
  const folder = join(parent, name);
  const env = { SKERRY_LABS: parent, SKERRY_LAB: name, SKERRY_SERVER: '', NO_COLOR: '1' };
  const attempt = (...args: string[]) => skerry(['lab', ...args], { env, timeoutMs: LIMIT_MS });
  const lab = async (...args: string[]) => {
    const ran = await attempt(...args);
    if (ran.code !== 0) throw new Error(`skerry lab ${args.join(' ')} ended with ${ran.code}: ${ran.stderr}`);
    return ran.stdout;
  };
  const identities = () => {
    const machines = join(folder, 'machines');
    return (existsSync(machines) ? readdirSync(machines) : []).flatMap((machine) => {
      const path = join(machines, machine, 'data/identity.json');
      return existsSync(path) ? [(JSON.parse(readFileSync(path, 'utf8')) as { id: string }).id] : [];
    });
  };
  try {
    await lab('up', file, '--wait');
  } catch (error) {
    await attempt('down');
    rmSync(parent, { recursive: true, force: true });
    throw error;
  }
  const { id } = JSON.parse(readFileSync(join(folder, 'lab.json'), 'utf8')) as { id: string };
  const exec = (client: string, ...command: string[]) => attempt('exec', client, '--', ...command);
  return {
    ...{ name, id, folder, env, lab, try: attempt, exec },
    async ask<T>(...args: string[]) {
      const data = join(folder, 'machines/controller/data');
      const ran = await skerry(['--data', data, '--output', 'json', ...args], { env });
      if (ran.code !== 0) throw new Error(`skerry ${args.join(' ')} ended with ${ran.code}: ${ran.stderr}`);
      return JSON.parse(ran.stdout) as T;
    },
    async tell(args, input) {
      const data = join(folder, 'machines/controller/data');
      const ran = await skerry(['--data', data, ...args], { env, ...(input !== undefined && { input }) });
      if (ran.code !== 0) throw new Error(`skerry ${args.join(' ')} ended with ${ran.code}: ${ran.stderr}`);
    },
    begin(client, ...command) {
      const words = ['lab', 'exec', client, '--', ...command];
      const child = spawn(join(ROOT, 'bin/skerry'), words, {
        env: { ...process.env, ...env },
        stdio: 'pipe',
      });
      let said = '';
      child.stdout.on('data', (chunk) => {
        said += chunk;
      });
      return Object.assign(child, { said: () => said });
    },
    async roundTripMs(from, to) {
      const { stdout } = await exec(from, 'ping', '-c', '5', '-i', '0.1', '-W', '1', to);
      const least = /= ([\d.]+)\//.exec(stdout)?.[1];
      return least === undefined ? undefined : Number(least);
    },
    async down() {
      const ids = identities();
      const ran = await attempt('down');
      const left = [id, ...ids].flatMap((one) => leftoversOf(one, folder));
      if (ran.code !== 0) left.unshift(`skerry lab down ended with ${ran.code}: ${ran.stderr}`);
      if (existsSync(folder)) left.push(`files: ${folder}`);
      rmSync(parent, { recursive: true, force: true });
      return left;
    },
  };
}
