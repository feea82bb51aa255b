/**
 * The sessions of agents: one for each node. An agent that comes again takes the place of its old connection, which may hang
 * half open; another one with the same certificate is turned away for as long as the first one answers.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  type ControllerLink,
  createPeer,
  type NodeLink,
  remoteNode,
  serveController,
} from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Core } from '../core.ts';
import { partsOf } from '../state/keys.ts';
import type { Change } from '../state/view.ts';
import type { NodeEntrance } from './join.ts';
import { checkedLink } from './report-check.ts';

/** Agents say something every 14 s (their own ping); one that misses two is not there. */
const SILENCE_MS = 30_000;
/** Of a connection that another one would take the place of. */
const ANSWER_LIMIT_MS = 2000;
const LARGEST_FRAME_BYTES = 32 * 1024 * 1024;
/** Written and not yet sent: beyond it whoever writes waits. */
const MOST_BUFFERED_BYTES = 4 * 1024 * 1024;
/** Messages of one agent that wait for their turn: beyond it nothing more is read from it. */
const MOST_WAITING = 64;

interface Session {
  readonly agent: string;
  readonly socket: WebSocket;
}

export interface SessionsOptions {
  readonly core: Core;
  readonly link: ControllerLink;
  readonly entrance: () => NodeEntrance | undefined;
  readonly attach: (node: string, link: NodeLink | undefined) => void;
}

export function createSessions({ core, link, entrance, attach }: SessionsOptions) {
  const { logger, clock } = core;
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: LARGEST_FRAME_BYTES,
    perMessageDeflate: false,
  });
  const sessions = new Map<string, Session>();

  // Whoever has the key no more goes at once: the node was taken out, or another machine took its place.
  core.view.onChange((one) => {
    if (one.collection !== 'node-keys' || !one.before) return;
    const { before, after, key } = one as Change<'node-keys'>;
    if (before?.key === after?.key && after?.removedAt === undefined) return;
    sessions.get(partsOf(key).name)?.socket.terminate();
  });

  const begin = (node: string, agent: string, socket: WebSocket) => {
    sessions.get(node)?.socket.terminate();
    const session: Session = { agent, socket };
    sessions.set(node, session);
    const served = serveController(checkedLink(link), node);
    const peer = createPeer(
      {
        send: (text) =>
          new Promise((resolve, reject) => {
            const waits = socket.bufferedAmount > MOST_BUFFERED_BYTES;
            socket.send(text, (error) => (error ? reject(error) : resolve()));
            if (!waits) resolve();
          }),
        close: () => socket.close(),
      },
      {
        ...served,
        calls: {
          ...served.calls,
          async renew({ request }: { request: string }) {
            const found = entrance();
            if (!found) throw new SkerryError('unavailable', 'the controller is stopping');
            return found.authority.signNode(String(request), node, clock.nowMs());
          },
        },
      },
    );
    let cancelSilence = () => {};
    let waiting = 0;
    const heard = () => {
      cancelSilence();
      cancelSilence = clock.after(SILENCE_MS, () => {
        core.absences.silent(node, SILENCE_MS);
        socket.terminate();
      });
    };
    heard();
    socket.on('ping', heard);
    socket.on('message', (data: Buffer, isBinary) => {
      heard();
      if (isBinary) return socket.terminate();
      if (++waiting === MOST_WAITING) socket.pause();
      core.turns.do('sessions', () => {
        if (waiting-- === MOST_WAITING) socket.resume();
        peer.receive(data.toString());
      });
    });
    socket.on('error', (error) => logger.debug({ err: error, node }, 'the session of an agent broke'));
    socket.on('close', () => {
      cancelSilence();
      peer.lost();
      if (sessions.get(node) !== session) return; // it has come again already
      sessions.delete(node);
      attach(node, undefined);
      logger.info({ node }, 'the agent has gone');
    });
    attach(node, remoteNode(peer));
    logger.info({ node }, 'an agent has come');
  };

  return {
    /** Errors: conflict, request_invalid. */
    async open(node: string, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
      // Random for each process: a data folder that was copied is told from one that came back.
      const agent = String(request.headers['skerry-agent'] ?? '');
      if (!/^[\w-]{1,64}$/.test(agent))
        throw new SkerryError('request_invalid', 'the agent does not name itself');
      const other = sessions.get(node);
      if (other && other.agent !== agent && (await answers(other.socket))) {
        logger.warn({ node }, 'a second agent came with the certificate of a node that is here');
        const message = `a second machine came with the certificate of ${node} and was turned away`;
        core.events.emit({
          type: 'warning',
          reason: 'SecondAgent',
          message,
          about: { kind: 'Node', name: node },
        });
        throw new SkerryError(
          'conflict',
          `another machine is ${node} at present: a data folder must not be copied`,
        );
      }
      if (socket.destroyed) return;
      server.handleUpgrade(request, socket, head, (webSocket) => begin(node, agent, webSocket));
    },
    close(): void {
      for (const client of server.clients) client.terminate();
      server.close();
    },
  };
}

/** Whether somebody is at the other end of a connection. */
function answers(socket: WebSocket): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (is: boolean) => {
      clearTimeout(timer);
      socket.off('pong', yes);
      socket.off('close', no);
      resolve(is);
    };
    const yes = () => done(true);
    const no = () => done(false);
    const timer = setTimeout(no, ANSWER_LIMIT_MS);
    socket.once('pong', yes);
    socket.once('close', no);
    socket.ping();
  });
}
