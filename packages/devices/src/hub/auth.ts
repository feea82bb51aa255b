/**
 * Who a device is, and what it may say and hear. Everything is answered from the directory, so it is the same with and
 * without the controller; a device that is not known yet and shows a certificate of its project is asked for, once.
 */
import { createHash } from 'node:crypto';
import type { FeedDevice } from '@skerry/contract';
import { DEFAULT_DEVICE_TOPICS, parseBytes } from '@skerry/model';
import type { ConnectAnswer, ConnectRequest, DeviceIdentity } from '../ports.ts';
import { type CertificateName, readCertificate } from './certificates.ts';
import type { Directory } from './directory.ts';
import { Passwords } from './passwords.ts';
import { covers, forDevice, matches } from './topics.ts';

const DEFAULT_PROJECT = 'default';
/** Of one project and node that wait to be taken in; more are refused until some are. */
const MOST_ENROLLING = 10_000;

/** Its own: no permission is needed for them and none takes them away. */
export const shadowTopic = (device: string, verb: string): string => `$skerry/shadow/${device}/${verb}`;
const SHADOW_SAYS = ['get', 'update'];
const SHADOW_HEARS = ['accepted', 'rejected', 'delta'];

export interface Enrolment extends DeviceIdentity {
  readonly fingerprint: string;
}

/** `device` (of the default project) or `project/device`. */
export function identityOfName(username: string): DeviceIdentity | undefined {
  const [left = '', right, ...more] = username.split('/');
  if (more.length > 0 || left === '' || right === '') return undefined;
  return right === undefined ? { project: DEFAULT_PROJECT, device: left } : { project: left, device: right };
}

const refused = (why: Extract<ConnectAnswer, { refused: unknown }>['refused'], reason: string) =>
  ({ refused: why, reason }) as const;

export class Auth {
  readonly #directory: Directory;
  readonly #passwords: Passwords;
  readonly #now: () => number;
  readonly #onEnrol: () => void;
  readonly #enrolling = new Map<string, Enrolment>();

  constructor(
    directory: Directory,
    options: { readonly now?: () => number; readonly onEnrol?: () => void } = {},
  ) {
    this.#directory = directory;
    this.#passwords = new Passwords(directory.passwordKeep());
    this.#now = options.now ?? Date.now;
    this.#onEnrol = options.onEnrol ?? (() => undefined);
    directory.onChange((changes) => {
      for (const { before, ...change } of changes) {
        const object = change.type === 'put' && 'object' in change ? change.object : before;
        if (object?.kind !== 'device') continue;
        const after =
          object.kind === 'device' && change.type === 'put' ? object.credentials.password : undefined;
        if (
          before?.kind === 'device' &&
          before.credentials.password !== undefined &&
          before.credentials.password !== after
        )
          this.#passwords.forget(before.credentials.password);
        this.#enrolling.delete(`${object.project}/${object.name}`);
      }
    });
  }

  /** Those who asked to be taken in and are not known yet. */
  get enrolling(): readonly Enrolment[] {
    return [...this.#enrolling.values()];
  }

  async authenticate(request: ConnectRequest): Promise<ConnectAnswer> {
    const shown = request.certificate && this.#certificate(request.certificate);
    if (shown) return this.#byCertificate(shown, request);
    if (request.username !== undefined && request.password !== undefined)
      return this.#byPassword(request.username, request.password);
    if (request.certificate)
      return refused('bad-credentials', 'no authority of the project that the certificate names signed it');
    return refused('bad-credentials', 'a user name and a password, or a certificate, are needed');
  }

  mayPublish({ project, device }: DeviceIdentity, topic: string): boolean {
    if (topic.startsWith('$')) return SHADOW_SAYS.some((verb) => topic === shadowTopic(device, verb));
    const patterns = this.#directory.device(project, device)?.spec.topics?.publish;
    return (patterns ?? DEFAULT_DEVICE_TOPICS.publish).some((pattern) =>
      matches(forDevice(pattern, device), topic),
    );
  }

  maySubscribe({ project, device }: DeviceIdentity, filter: string): boolean {
    if (filter.startsWith('$skerry/'))
      return (
        filter === shadowTopic(device, '#') ||
        filter === shadowTopic(device, '+') ||
        SHADOW_HEARS.some((verb) => filter === shadowTopic(device, verb))
      );
    const patterns = this.#directory.device(project, device)?.spec.topics?.subscribe;
    return (patterns ?? DEFAULT_DEVICE_TOPICS.subscribe).some((pattern) =>
      covers(forDevice(pattern, device), filter),
    );
  }

  #certificate(der: Uint8Array): CertificateName | undefined {
    const authoritiesOf = (project: string) => this.#directory.project(project)?.authorities ?? [];
    return readCertificate(der, authoritiesOf, this.#now());
  }

  #byCertificate(shown: CertificateName, { username }: ConnectRequest): ConnectAnswer {
    const { project, device, fingerprint } = shown;
    if (username !== undefined && username !== '') {
      const claimed = identityOfName(username);
      const isSame = claimed?.device === device && (claimed.project === project || !username.includes('/'));
      if (!isSame) return refused('bad-credentials', `the certificate is that of ${project}/${device}`);
    }
    const known = this.#directory.device(project, device);
    if (!known) return this.#enrol(shown);
    if (known.spec.auth === 'password')
      return refused('not-authorized', `${device} proves itself by its password`);
    const only = known.credentials.fingerprint;
    if (only !== undefined && only.toLowerCase() !== fingerprint)
      return refused('bad-credentials', `${device} has another certificate by now`);
    return this.#admit(known);
  }

  async #byPassword(username: string, password: Uint8Array): Promise<ConnectAnswer> {
    const wrong = refused('bad-credentials', 'the user name or the password is wrong');
    const identity = identityOfName(username);
    const known = identity && this.#directory.device(identity.project, identity.device);
    const expected = known?.credentials.password;
    if (!known || expected === undefined || known.spec.auth === 'certificate') return wrong;
    const verdict = await this.#passwords.check(password, expected);
    if (verdict === 'busy') return refused('unavailable', 'too many devices come at once: try again');
    if (verdict === 'wrong') return wrong;
    // it may have been removed or made anew while the hash was computed
    const now = this.#directory.device(known.project, known.name);
    return now?.credentials.password === expected ? this.#admit(now) : wrong;
  }

  #admit({ project, name, spec }: FeedDevice): ConnectAnswer {
    if (spec.disabled) return refused('not-authorized', `${name} is disabled`);
    const { messagesPerSecond, messageSize, queued } = spec.limits ?? {};
    return {
      identity: { project, device: name },
      ...(messagesPerSecond !== undefined && { messagesPerSecond }),
      ...(messageSize !== undefined && { messageBytes: parseBytes(messageSize) }),
      ...(queued !== undefined && { queuedMessages: queued }),
    };
  }

  #enrol({ project, device, fingerprint }: CertificateName): ConnectAnswer {
    if (this.#directory.project(project)?.enrolment !== 'automatic')
      return refused('not-authorized', `${project} knows no device ${device}`);
    const key = `${project}/${device}`;
    const later = refused('unavailable', `${device} is being taken in: try again in a moment`);
    if (this.#enrolling.get(key)?.fingerprint === fingerprint) return later;
    if (this.#enrolling.size >= MOST_ENROLLING)
      return refused('unavailable', 'too many devices wait to be taken in: try again');
    this.#enrolling.set(key, { project, device, fingerprint });
    this.#onEnrol();
    return later;
  }
}

/** What a connection of this device goes by: where it differs, the connection is to end. */
export function standingOf({ uid, credentials, spec }: FeedDevice): string {
  const { auth, topics, disabled, limits } = spec;
  const parts = JSON.stringify([uid, credentials, auth, topics, disabled === true, limits]);
  return createHash('sha256').update(parts).digest('base64url');
}
