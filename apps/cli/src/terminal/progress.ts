/** Progress for whatever takes longer than a second: one moving line on a terminal, plain lines in a pipe. On stderr. */
import { performance } from 'node:perf_hooks';

export interface Progress {
  update(text: string): void;
  end(): void;
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** Exit code of what SIGINT ended (128 + 2, as shells have it). */
const INTERRUPTED = 130;

/** `interrupted`: what goes on after Ctrl-C, in words. */
export function startProgress(text: string, quiet: boolean, interrupted?: string): Progress {
  const onInterrupt = () => {
    progress.end();
    process.stderr.write(`skerry: interrupted${interrupted === undefined ? '' : `; ${interrupted}`}\n`);
    process.exit(INTERRUPTED);
  };
  process.once('SIGINT', onInterrupt);
  const line = quiet ? { update: () => undefined, end: () => undefined } : startLine(text);
  const progress: Progress = {
    update: line.update,
    end() {
      process.off('SIGINT', onInterrupt);
      line.end();
    },
  };
  return progress;
}

function startLine(text: string): Progress {
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
