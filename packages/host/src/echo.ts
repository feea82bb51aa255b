/** Round trips to other machines by ICMP echo, timed by the kernel: see native/skerry-echo.c. Sends only when it is asked to. */
import { isIP } from 'node:net';
import { createInterface } from 'node:readline';
import { type InteractiveProgram, startInteractive } from './interactive.ts';

export interface Echoes {
  /** Microseconds; undefined when no answer came within a second, or the program is gone. */
  ask(address: string): Promise<number | undefined>;
  /** Resolves when the program has ended: there is nobody to ask any more. */
  readonly closed: Promise<void>;
  close(): void;
}

/** Errors: host_missing, host_command_failed. */
export async function openEchoes(program: string): Promise<Echoes> {
  const child: InteractiveProgram = await startInteractive(program, [], {});
  const waiting = new Map<number, (us: number | undefined) => void>();
  let lastId = 0;
  let isOpen = true;
  const end = () => {
    isOpen = false;
    for (const resolve of waiting.values()) resolve(undefined);
    waiting.clear();
  };
  const closed = child.exit.then(end);
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [id = '', us = ''] = line.split(' ');
    const resolve = waiting.get(Number(id));
    waiting.delete(Number(id));
    resolve?.(us === '-' ? undefined : Number(us));
  });
  child.stderr?.resume();
  return {
    closed,
    ask(address) {
      if (!isOpen || isIP(address) === 0) return Promise.resolve(undefined);
      lastId = (lastId + 1) % 2 ** 31;
      const id = lastId;
      return new Promise((resolve) => {
        waiting.set(id, resolve);
        child.input.write(`${id} ${address}\n`);
      });
    },
    close: () => child.kill(),
  };
}
