/**
 * What agents come through: one session each (a WebSocket), and content by digest. Who comes is told by the certificate of
 * the connection alone, and it must be for the key with which the node joined last.
 *
 *   GET /v1/agent/session (Upgrade)   GET /v1/agent/images/{digest}   GET /v1/agent/blobs/{digest} (Range)
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { TLSSocket } from 'node:tls';
import { type ControllerLink, type NodeLink, toProblem } from '@skerry/contract';
import { asSkerryError, SkerryError } from '@skerry/model';
import type { Core } from '../core.ts';
import { refuse } from '../http/upgrade.ts';
import { keyHash, type NodeEntrance, takenOut } from './join.ts';
import { createSessions } from './sessions.ts';

const PREFIX = '/v1/agent/';

export interface NodeDoor {
  /** Whether a request is for this door. */
  isFor(request: IncomingMessage): boolean;
  handle(request: IncomingMessage, response: ServerResponse): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  close(): void;
}

export interface NodeDoorOptions {
  readonly core: Core;
  readonly link: ControllerLink;
  readonly entrance: () => NodeEntrance | undefined;
  readonly attach: (node: string, link: NodeLink | undefined) => void;
}

export function createNodeDoor({ core, link, entrance, attach }: NodeDoorOptions): NodeDoor {
  const { logger } = core;
  const sessions = createSessions({ core, link, entrance, attach });

  /** Errors: unauthenticated, forbidden. */
  const identify = (request: IncomingMessage): string => {
    const socket = request.socket as Partial<TLSSocket>;
    const certificate = socket.authorized ? socket.getPeerCertificate?.() : undefined;
    const { CN: node, O: kind } = (certificate?.subject ?? {}) as unknown as Record<string, string>;
    if (!certificate || kind !== 'Skerry node' || typeof node !== 'string')
      throw new SkerryError(
        'unauthenticated',
        'only agents with a certificate of this controller come in here',
      );
    const known = core.view.get('node-keys', node);
    if (known?.removedAt !== undefined) throw takenOut(node);
    if (known?.key !== keyHash(certificate.raw))
      throw new SkerryError('forbidden', `${node} is another machine by now: this one has to join anew`);
    return node;
  };

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    identify(request);
    const path = (request.url ?? '').split('?')[0]!.slice(PREFIX.length);
    const [, kind, digest] = /^(images|blobs)\/(sha256:[0-9a-f]{64})$/.exec(path) ?? [];
    if (!kind || !digest || request.method !== 'GET')
      throw new SkerryError('not_found', 'agents ask for nothing of that name');
    if (kind === 'images') {
      const manifest = await core.images.manifest(digest);
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(manifest));
    } else await sendBlob(core.images.blobPath(digest), request, response);
  };

  return {
    isFor: ({ url }) => url?.startsWith(PREFIX) === true,
    handle(request, response) {
      serve(request, response).catch((thrown) => {
        const error = asSkerryError(thrown);
        if (error.code === 'internal' && !response.destroyed)
          logger.warn({ err: thrown }, 'an agent was not answered');
        if (response.headersSent) return void response.destroy();
        const problem = toProblem(error);
        response.writeHead(problem.status, { 'content-type': 'application/problem+json' });
        response.end(JSON.stringify(problem));
      });
    },
    upgrade(request, socket, head) {
      socket.on('error', () => socket.destroy());
      const open = async () => sessions.open(identify(request), request, socket, head);
      open().catch((thrown) => refuse(socket, asSkerryError(thrown)));
    },
    close: () => sessions.close(),
  };
}

/** Errors: image_not_found. */
async function sendBlob(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const about = await stat(path).catch(() => undefined);
  if (!about) throw new SkerryError('image_not_found', 'there is no content of that digest');
  const from = Number(/^bytes=(\d{1,15})-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (from > about.size) {
    response.writeHead(416, { 'content-range': `bytes */${about.size}` }).end();
    return;
  }
  response.writeHead(from > 0 ? 206 : 200, {
    'content-type': 'application/octet-stream',
    'content-length': about.size - from,
    ...(from > 0 && { 'content-range': `bytes ${from}-${about.size - 1}/${about.size}` }),
  });
  await pipeline(createReadStream(path, { start: from, highWaterMark: 256 * 1024 }), response);
}
