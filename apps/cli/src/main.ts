/** Entry of the program. Exit codes: 0 done, 1 failed, 2 used wrongly. */
import { CommanderError } from 'commander';
import { createProgram } from './program.ts';
import { exitCodeOf, formatFailure } from './terminal/failure.ts';

// A reader that goes away (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
});

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    process.stderr.write(formatFailure(error));
    process.exitCode = exitCodeOf(error);
  }
}
