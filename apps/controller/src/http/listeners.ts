/** The doors: a unix socket in the data folder, and HTTPS where an address was given. Both lead to one application. */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { hostname } from 'node:os';
import { SkerryError } from '@skerry/model';
import type { Callers } from '../auth/callers.ts';
import type { Clock } from '../clock.ts';
import type { NodeDoor } from '../nodes/door.ts';
import type { NodeEntrance } from '../nodes/join.ts';
import type { Upgrade } from './upgrade.ts';

/** sun_path of unix(7) is 108 bytes with its closing zero. */
const LONGEST_SOCKET_PATH = 107;

export interface ListenOptions {
  /** `<dataDir>/api.sock`; made with mode 0600. */
  readonly socketPath: string;
  readonly https?: { readonly host: string; readonly port: number };
}
export interface Listening {
  readonly socketPath: string;
  readonly https?: {
    readonly host: string;
    readonly port: number;
    readonly caPath: string;
    readonly tokenPath: string;
  };
}

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

export interface Doors {
  /** Where agents come in; undefined while there is no such door. */
  readonly entrance: NodeEntrance | undefined;
  open(options: ListenOptions): Promise<Listening>;
  close(): Promise<void>;
}

export function createDoors(
  dataDir: string,
  clock: Clock,
  callers: Callers,
  handle: Handle,
  upgrade: Upgrade,
  nodeDoor: NodeDoor,
): Doors {
  const servers: Server[] = [];
  let entrance: NodeEntrance | undefined;
  const sockets = new Set<Socket>();

  const listen = (server: Server, options: { path: string } | { host: string; port: number }) =>
    new Promise<void>((resolve, reject) => {
      servers.push(server);
      server.keepAliveTimeout = 72_000;
      // An image may take longer to upload than any limit; who is not known is refused before its body is read.
      server.requestTimeout = 0;
      server.on('upgrade', (request, socket, head) =>
        nodeDoor.isFor(request) ? nodeDoor.upgrade(request, socket, head) : upgrade(request, socket, head),
      );
      server.on('connection', (socket: Socket) => {
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
      });
      server.once('error', (error: NodeJS.ErrnoException) => {
        const where = 'path' in options ? options.path : `${options.host}:${options.port}`;
        reject(
          error.code === 'EADDRINUSE'
            ? new SkerryError('port_taken', `something listens on ${where} already`, {
                cause: error,
                details: { address: where },
              })
            : new SkerryError('unavailable', `can not listen on ${where}: ${error.message}`, {
                cause: error,
              }),
        );
      });
      server.listen(options, () => resolve());
    });

  return {
    get entrance() {
      return entrance;
    },
    async open({ socketPath, https }) {
      if (Buffer.byteLength(socketPath) > LONGEST_SOCKET_PATH) {
        throw new SkerryError(
          'data_folder_invalid',
          `${socketPath} is too long for a unix socket: at most ${LONGEST_SOCKET_PATH} bytes`,
        );
      }
      // Whoever calls holds the data folder, so a socket that lies there is one of a process that is gone.
      await rm(socketPath, { force: true });
      const local = createServer(handle);
      local.on('connection', callers.trust);
      // The file must never be open to others, not even before chmod: listen(2) makes it at once, under this mask.
      const mask = process.umask(0o177);
      const listening = listen(local, { path: socketPath });
      process.umask(mask);
      await listening;
      await chmod(socketPath, 0o600);
      if (!https) return { socketPath };

      // Loaded where it is needed: it costs memory that an edge node may not have.
      const { ensureTls } = await import('../auth/certificates.ts');
      const { openAuthority } = await import('../auth/authority.ts');
      const authority = await openAuthority(dataDir, clock.nowMs());
      const tls = await ensureTls(dataDir, [https.host], authority, clock.nowMs());
      callers.setToken(tls.token);
      // A certificate is asked of everybody and needed by agents only: their door looks at it.
      const remote = createTlsServer(
        {
          ...{ key: tls.key, cert: tls.cert, minVersion: 'TLSv1.2' },
          ...{ ca: authority.pem, requestCert: true, rejectUnauthorized: false },
        },
        (request, response) =>
          nodeDoor.isFor(request) ? nodeDoor.handle(request, response) : handle(request, response),
      );
      await listen(remote as unknown as Server, { host: https.host, port: https.port });
      const { port } = remote.address() as AddressInfo;
      const isEverywhere = https.host === '0.0.0.0' || https.host === '::';
      entrance = { host: isEverywhere ? hostname() : https.host, port, authority };
      return { socketPath, https: { host: https.host, port, caPath: tls.caPath, tokenPath: tls.tokenPath } };
    },
    async close() {
      entrance = undefined;
      nodeDoor.close();
      const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
      for (const server of servers) server.closeIdleConnections();
      // Requests that run get a moment; streams would never end by themselves.
      const impatient = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, 500);
      await Promise.all(closed);
      clearTimeout(impatient);
      servers.length = 0;
    },
  };
}
