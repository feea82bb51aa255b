/** One HTTPS listener for two things: messages by HTTP, and MQTT over WebSocket at `/mqtt`. */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { webSockets } from '../broker/listeners.ts';
import type { Broker } from '../ports.ts';
import type { HttpIngest } from './http-ingest.ts';
import type { Listen } from './listen.ts';
import type { TlsPaths } from './parts.ts';

const HEADERS_LIMIT_MS = 15_000;

export interface HttpsListener {
  readonly listen: Listen;
  close(): Promise<void>;
}

/** Errors: those of listening (EADDRINUSE). */
export async function openHttpsListener(
  { protocol, host, port }: Listen,
  { keyPath, certificatePath }: TlsPaths,
  { broker, http }: { readonly broker: Broker; readonly http: HttpIngest },
): Promise<HttpsListener> {
  const server: Server = createServer({
    ...{ key: readFileSync(keyPath), cert: readFileSync(certificatePath), minVersion: 'TLSv1.2' },
    // judged by the directory, not by the machine's authorities
    ...{ requestCert: true, rejectUnauthorized: false },
    ...{ headersTimeout: HEADERS_LIMIT_MS, requestTimeout: 2 * HEADERS_LIMIT_MS },
  });
  if (protocol === 'https') server.on('request', (request, response) => http.handle(request, response));
  else server.on('request', (_, response) => response.writeHead(404).end());
  server.on('tlsClientError', (_, socket) => socket.destroy());
  const upgrade = webSockets((stream, about) => {
    if (broker.attach) broker.attach(stream, about);
    else stream.destroy();
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    upgrade(request, socket, head);
  });
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return {
    listen: { protocol, host, port: (server.address() as AddressInfo).port },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
