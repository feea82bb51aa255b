/** Progress for whatever takes longer than a second: one moving line on a terminal, plain lines in a pipe. On stderr. */
import { performance } from 'node:perf_hooks';

export interface Progress {
  update(text: string): void;
  end(): void;
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

export function startProgress(text: string, quiet: boolean): Progress {
  if (quiet) return { update: () => undefined, end: () => undefined };
  const begun = performance.now();
  let current = text;
  let printed = '';
  let frame = 0;
  const tty = process.stderr.isTTY === true;
  const draw = () => {
    const seconds = ((performance.now() - begun) / 1000).toFixed(0);
    if (tty) process.stderr.write(`\r\x1b[2K${FRAMES[frame++ % FRAMES.length]} ${current} (${seconds}s)`);
    else if (current !== printed) {
      printed = current;
      process.stderr.write(`${current}\n`);
    }
  };
  let timer: NodeJS.Timeout | undefined;
  const delay = setTimeout(() => {
    draw();
    timer = setInterval(draw, tty ? 100 : 2000);
  }, 1000);
  return {
    update(next) {
      current = next;
    },
    end() {
      clearTimeout(delay);
      clearInterval(timer);
      if (tty && timer) process.stderr.write('\r\x1b[2K');
    },
  };
}
