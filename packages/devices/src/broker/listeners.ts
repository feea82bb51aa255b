/** Where devices reach the broker: TCP, TLS (a certificate of the device is asked for, not demanded), and WebSocket over both. */
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer, type IncomingMessage } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import { createWebSocketStream, WebSocketServer } from 'ws';
import type { BrokerListen } from '../ports.ts';
import type { ConnectionAbout } from './connection.ts';

export interface TlsFiles {
  readonly keyPath: string;
  readonly certificatePath: string;
}
export interface Listener {
  /** With the port that it has. */
  readonly at: BrokerListen;
  close(): Promise<void>;
}
type Take = (stream: Duplex, about: ConnectionAbout) => void;

/** A certificate is verified as far as that its key is the device's; whether it counts, who authenticates decides. */
const secured = (tls: TlsFiles | undefined) => {
  if (!tls) throw new Error('a listener with TLS needs a key and a certificate');
  return {
    ...{ key: readFileSync(tls.keyPath), cert: readFileSync(tls.certificatePath) },
    ...{ requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.2' as const },
  };
};

export function aboutSocket(socket: Socket): ConnectionAbout {
  const certificate = socket instanceof TLSSocket ? socket.getPeerCertificate(true)?.raw : undefined;
  return { remoteAddress: socket.remoteAddress ?? '', ...(certificate && { certificate }) };
}

/** MQTT over WebSocket at `/mqtt` (MQTT 5.0, section 6). */
export function webSockets(take: Take): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const server = new WebSocketServer({
    ...{ noServer: true, maxPayload: 2 ** 20, perMessageDeflate: false },
    handleProtocols: (offered) =>
      offered.has('mqtt') ? 'mqtt' : offered.has('mqttv3.1') ? 'mqttv3.1' : false,
  });
  return (request, socket, head) => {
    if ((request.url ?? '').split('?')[0] !== '/mqtt') {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
      return;
    }
    server.handleUpgrade(request, socket, head, (webSocket) =>
      take(createWebSocketStream(webSocket), aboutSocket(request.socket)),
    );
  };
}

export async function listen(wanted: BrokerListen, tls: TlsFiles | undefined, take: Take): Promise<Listener> {
  const { protocol, host, port } = wanted;
  const plain = (socket: Socket) => {
    socket.setNoDelay(true);
    take(socket, aboutSocket(socket));
  };
  let server: Server | HttpServer;
  if (protocol === 'mqtt') server = createServer(plain);
  else if (protocol === 'mqtts') server = createTlsServer(secured(tls), plain);
  else server = protocol === 'ws' ? createHttpServer() : createHttpsServer(secured(tls));
  if (protocol === 'ws' || protocol === 'wss') server.on('upgrade', webSockets(take));
  // A connection whose handshake fails is no affair of the others.
  server.on('tlsClientError', () => undefined);
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
    at: { protocol, host, port: (server.address() as AddressInfo).port },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) {
          socket.end();
          setTimeout(() => socket.destroy(), 500).unref();
        }
      }),
  };
}
