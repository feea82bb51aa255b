/** The serial console of a guest at skerry-run's door: several may look at once; what one types goes to the guest. */
import { connect } from 'node:net';
import { SkerryError } from '@skerry/model';

export async function openConsole(
  path: string,
  signal: AbortSignal,
): Promise<{ readonly output: AsyncIterable<Uint8Array>; write(data: Uint8Array): Promise<void> }> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause) =>
      reject(new SkerryError('guest_not_running', 'the console of the guest does not answer', { cause })),
    );
  });
  signal.addEventListener('abort', () => socket.destroy(), { once: true });
  socket.on('error', () => undefined);
  return {
    output: (async function* () {
      try {
        for await (const data of socket) yield data as Uint8Array;
      } catch {
        // it ended while we read
      }
    })(),
    write: (data) =>
      new Promise((resolve, reject) => {
        socket.write(data, (error) =>
          error
            ? reject(new SkerryError('guest_not_running', 'the console has ended', { cause: error }))
            : resolve(),
        );
      }),
  };
}
