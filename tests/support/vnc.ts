/** Types on a screen's keyboard over VNC (RFC 6143: version 3.8, no authentication, key events). */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const RETURN = 0xff0d;

async function read(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const piece = socket.read(bytes) as Buffer | null;
    if (piece) return piece;
    if (socket.readableEnded) throw new Error('the screen hung up');
    await once(socket, 'readable');
  }
}

export async function typeOnScreen(path: string, text: string): Promise<void> {
  const socket = connect(path);
  try {
    await read(socket, 12);
    socket.write('RFB 003.008\n');
    const [count] = await read(socket, 1);
    await read(socket, count!);
    socket.write(Buffer.from([1])); // no authentication: the socket is this user's alone
    await read(socket, 4);
    socket.write(Buffer.from([1])); // shared
    const server = await read(socket, 24);
    await read(socket, server.readUInt32BE(20));
    for (const char of text) {
      const key = char === '\n' ? RETURN : char.charCodeAt(0);
      for (const isDown of [1, 0]) {
        const event = Buffer.alloc(8);
        event.writeUInt8(4, 0);
        event.writeUInt8(isDown, 1);
        event.writeUInt32BE(key, 4);
        await new Promise((resolve) => socket.write(event, resolve));
      }
    }
    // An update is answered after the events before it were taken.
    socket.write(Buffer.from([3, 0, 0, 0, 0, 0, 0, 1, 0, 1]));
    await read(socket, 1);
  } finally {
    socket.destroy();
  }
}
