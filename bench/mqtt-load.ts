/**
 * Load for a broker, in a process of its own: publishers that each wait for the acknowledgement of their message (QoS 1, 3.1.1) before
 * they send the next, and subscribers that acknowledge. Bytes are made once and sent as they are: the load costs little.
 * Told by a message of its parent what to do; answers with what it saw.
 */
import { connect, type Socket } from 'node:net';

export interface LoadRequest {
  readonly port: number;
  readonly publishers: number;
  readonly subscribers: number;
  readonly payloadBytes: number;
  readonly warmMs: number;
  readonly measureMs: number;
  /** Of the devices, where the broker wants one. */
  readonly username?: string;
  readonly password?: string;
}
export interface LoadResult {
  readonly perSecond: number;
  readonly receivedPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
};
function packet(header: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  let rest = body.length;
  do {
    length.push((rest % 128) | (rest > 127 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([header, ...length]), body]);
}

function open(request: LoadRequest, id: string): Promise<Socket> {
  const { port, username, password } = request;
  const flags = 2 | (username === undefined ? 0 : 0xc0);
  const words = username === undefined ? [] : [text(username), text(password ?? '')];
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    socket.once('error', reject);
    socket.once('data', (data) =>
      data[3] === 0 ? resolve(socket) : reject(new Error(`refused: ${data[3]}`)),
    );
    socket.write(packet(0x10, text('MQTT'), Buffer.from([4, flags, 0, 0]), text(id), ...words));
  });
}

async function run(request: LoadRequest): Promise<LoadResult> {
  let [acknowledged, received, measuring] = [0, 0, false];
  const times: number[] = [];
  const sockets: Socket[] = [];
  for (let at = 0; at < request.subscribers; at++) {
    const socket = await open(request, `sub-${at}`);
    sockets.push(socket);
    await new Promise((resolve) => {
      socket.once('data', resolve);
      socket.write(packet(0x82, Buffer.from([0, 1]), text('load/#'), Buffer.from([1])));
    });
    let held: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      held = held.length > 0 ? Buffer.concat([held, chunk]) : chunk;
      const answers: Buffer[] = [];
      let from = 0;
      for (;;) {
        // Fixed header of two length bytes at these sizes, or one.
        if (held.length < from + 3) break;
        const long = (held[from + 1]! & 128) !== 0;
        const length = long ? (held[from + 1]! & 127) + held[from + 2]! * 128 : held[from + 1]!;
        const body = from + (long ? 3 : 2);
        if (held.length < body + length) break;
        if (held[from]! >> 4 === 3) {
          received++;
          const idAt = body + 2 + held.readUInt16BE(body);
          if ((held[from]! & 6) === 2) answers.push(Buffer.from([0x40, 2, held[idAt]!, held[idAt + 1]!]));
        }
        from = body + length;
      }
      held = held.subarray(from);
      if (answers.length > 0) socket.write(Buffer.concat(answers));
    });
  }
  const payload = Buffer.alloc(request.payloadBytes, 0x61);
  for (let at = 0; at < request.publishers; at++) {
    const socket = await open(request, `pub-${at}`);
    sockets.push(socket);
    const message = packet(0x32, text(`load/${at}`), Buffer.from([0, 1]), payload);
    let sentMs = performance.now();
    socket.on('data', (data) => {
      for (let byte = 0; byte < data.length; byte += 4) {
        acknowledged++;
        const now = performance.now();
        if (measuring) times.push(now - sentMs);
        sentMs = now;
        socket.write(message);
      }
    });
    socket.write(message);
  }
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  await pause(request.warmMs);
  const begun = { acknowledged, received, atMs: performance.now() };
  measuring = true;
  await pause(request.measureMs);
  measuring = false;
  const seconds = (performance.now() - begun.atMs) / 1000;
  const result = {
    perSecond: (acknowledged - begun.acknowledged) / seconds,
    receivedPerSecond: (received - begun.received) / seconds,
  };
  for (const socket of sockets) socket.destroy();
  times.sort((a, b) => a - b);
  const share = (of: number) => times[Math.min(times.length - 1, Math.floor(of * times.length))] ?? 0;
  return { ...result, p50Ms: share(0.5), p99Ms: share(0.99) };
}

process.on('message', (request: LoadRequest) => {
  run(request).then(
    (result) => process.send!({ result }),
    (error: Error) => process.send!({ error: error.message }),
  );
});
