/**
 * How a machine becomes a node: a token is made for it, it spends the token once with the public half of a key that it
 * made itself, and gets a certificate for its name. From then on the node is whoever holds that key, and nobody else.
 *
 *   token made --spent (for this key)--> node-key --another token for the same name--> node-key of the new machine
 */
import { createHash, randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto';
import { SkerryError } from '@skerry/model';
import type { Authority } from '../auth/authority.ts';
import { type Core, change } from '../core.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { keyOf } from '../state/keys.ts';
import type { NodeToken } from '../state/view.ts';

const USUAL_VALIDITY_S = 3600;
const TOKENS_AT_ONCE = 10_000;
/** Tokens that are no longer good are looked for this often: thousands of machines may join in a minute. */
const SWEEP_MS = 60_000;

/** Where agents find this controller, and by what they know it. */
export interface NodeEntrance {
  readonly host: string;
  readonly port: number;
  readonly authority: Authority;
}

/** What an agent reads out of a token. */
export interface TokenParts {
  readonly server: string;
  readonly id: string;
  readonly secret: string;
  readonly fingerprint: string;
}

const hash = (text: string | Uint8Array) => createHash('sha256').update(text).digest('base64url');
const sameHash = (a: string, b: string) =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

/** Of the public key in a certificate, as it is kept in `node-keys`. */
export const keyHash = (certificate: string | Uint8Array): string =>
  hash(new X509Certificate(certificate as string).publicKey.export({ type: 'spki', format: 'der' }));

export const takenOut = (node: string): SkerryError =>
  new SkerryError(
    'forbidden',
    `the node ${node} was taken out: end what this machine has with \`skerry down --purge\`; with a new token it may join anew`,
  );

export const tokenText = ({ server, id, secret, fingerprint }: TokenParts): string =>
  `skerry-join-${Buffer.from(JSON.stringify([server, id, secret, fingerprint])).toString('base64url')}`;

type JoinHandlers = Pick<HandlersOf<'node'>, 'node.token' | 'node.tokens' | 'node.revoke' | 'node.join'>;

export function joinRoutes(core: Core, entrance: () => NodeEntrance | undefined): JoinHandlers {
  const { view, clock } = core;
  let sweptMs = Number.NEGATIVE_INFINITY;
  const isGood = ({ expiresAt, usedBy }: NodeToken, now: number) =>
    usedBy === undefined && Date.parse(expiresAt) > now;
  const open = (): NodeEntrance => {
    const found = entrance();
    if (!found)
      throw new SkerryError(
        'unavailable',
        'no machine can join: the controller answers on this machine only; start it with --listen HOST:PORT',
      );
    return found;
  };

  return {
    async 'node.token'({ body }) {
      const { host, port, authority } = open();
      const now = clock.nowMs();
      const id = randomBytes(6).toString('hex');
      const secret = randomBytes(32).toString('base64url');
      const token: NodeToken = {
        id,
        secret: hash(secret),
        createdAt: new Date(now).toISOString(),
        expiresAt: new Date(now + (body.validSeconds ?? USUAL_VALIDITY_S) * 1000).toISOString(),
        ...(body.node !== undefined && { node: body.node }),
      };
      await change(core, [], false, (draft) => {
        let left = view.count('node-tokens');
        if (left >= TOKENS_AT_ONCE || clock.monotonicMs() - sweptMs > SWEEP_MS) {
          sweptMs = clock.monotonicMs();
          for (const old of view.all('node-tokens')) {
            if (Date.parse(old.expiresAt) > now) continue;
            draft.delete(keyOf('node-tokens', old.id));
            left--;
          }
        }
        if (left >= TOKENS_AT_ONCE)
          throw new SkerryError(
            'quota_exceeded',
            `there are ${left} tokens that nobody has used: revoke some`,
          );
        draft.put(keyOf('node-tokens', id), token);
      });
      const server = body.server ?? `${host.includes(':') ? `[${host}]` : host}:${port}`;
      const { secret: _, ...shown } = token;
      const parts = { server, id, secret, fingerprint: authority.fingerprint };
      return { body: { ...shown, token: tokenText(parts) } };
    },

    async 'node.tokens'() {
      const now = clock.nowMs();
      const items = [...view.all('node-tokens')]
        .filter((token) => isGood(token, now))
        .map(({ secret: _, usedBy: __, ...shown }) => shown);
      return { body: { items } };
    },

    async 'node.revoke'({ id }) {
      await change(core, [keyOf('node-tokens', id)], false, (draft) => {
        if (!draft.get('node-tokens', id)) throw new SkerryError('not_found', `there is no token "${id}"`);
        draft.delete(keyOf('node-tokens', id));
      });
      return { body: { id } };
    },

    async 'node.join'({ body }) {
      const { authority } = open();
      const refused = (why: string) =>
        new SkerryError(
          'forbidden',
          `the token is not good: ${why}; make a new one with \`skerry node token\``,
        );
      const now = clock.nowMs();
      const find = () => {
        const token = view.get('node-tokens', body.id);
        // A wrong secret reads like a token that never was.
        if (!token || !sameHash(hash(body.secret), token.secret))
          throw refused('nobody made it here, or it was taken back');
        if (Date.parse(token.expiresAt) <= now) throw refused(`it was good until ${token.expiresAt}`);
        return token;
      };
      const node = find().node ?? body.node;
      if (node === undefined) throw new SkerryError('request_invalid', 'the machine has to choose a name');
      let subnet: string | undefined;
      const certificate = await authority.signNode(body.request, node, now);
      const key = keyHash(certificate);
      await change(core, [keyOf('node-tokens', body.id), keyOf('node-keys', node)], false, (draft, world) => {
        const token = find();
        if (token.usedBy === key && draft.get('node-keys', node)?.key === key) {
          if (body.subnets?.length) subnet = core.subnets.claim(node, body.subnets);
          return;
        }
        if (token.usedBy !== undefined) throw refused('another machine has used it');
        const known = draft.get('node-keys', node);
        const isTaken = (known && known.removedAt === undefined) || draft.get('nodes', node);
        if (node === core.nodeName || (isTaken && token.node === undefined))
          throw new SkerryError(
            'conflict',
            `there is a node "${node}" already: choose another name, or make a token for this one with \`skerry node token --name ${node}\``,
          );
        if (body.subnets?.length) subnet = core.subnets.claim(node, body.subnets);
        draft.put(keyOf('node-tokens', body.id), { ...token, usedBy: key });
        draft.put(keyOf('node-keys', node), { key, joinedAt: world.now });
        const message = `a machine joined as node ${node}`;
        draft.event({ type: 'normal', reason: 'Joined', message, about: { kind: 'Node', name: node } });
      });
      return {
        body: { node, certificate, authority: authority.pem, ...(subnet !== undefined && { subnet }) },
      };
    },
  };
}
