/**
 * What devices prove themselves with. A password is made here, answered once and kept as a hash; a certificate is signed by
 * the authority of the project: its key is in `<dataDir>/device-authorities/<uid of the project>/`, so that a project that is
 * made again has another one.
 */
import { randomBytes, scrypt } from 'node:crypto';
import { join } from 'node:path';
import { type Device, SkerryError } from '@skerry/model';
import type { Authority } from '../auth/authority.ts';
import { type Core, change } from '../core.ts';
import { keyOf } from '../state/keys.ts';
import { same } from '../state/resource.ts';
import type { OwnAuthority } from './stored.ts';

/** 32 characters; 144 bits would do for a secret that no dictionary has, these are 192. */
const PASSWORD_BYTES = 24;
/**
 * Ten thousand devices may come to a node that has never seen them: 1 MiB and a few milliseconds for each (RFC 7914, section 2).
 * More would protect a password that can be guessed; of these nobody tries a part that counts.
 */
const SCRYPT = { N: 1024, r: 8, p: 1 } as const;

export interface Made {
  readonly secrets: { readonly password?: string; readonly fingerprint?: string };
  readonly answer: { readonly password?: string; readonly certificate?: string; readonly key?: string };
}
export interface Credentials {
  /** Errors: request_invalid, phase_forbids where the project has authorities of its own. */
  make(project: string, name: string, auth: Device['spec']['auth'], csr: string | undefined): Promise<Made>;
}

async function password(): Promise<Made> {
  const secret = randomBytes(PASSWORD_BYTES).toString('base64url');
  const salt = randomBytes(16);
  const hash = await new Promise<Buffer>((resolve, reject) =>
    scrypt(secret, salt, 32, SCRYPT, (error, key) => (error ? reject(error) : resolve(key))),
  );
  const { N, r, p } = SCRYPT;
  const text = ['scrypt', N, r, p, salt.toString('base64'), hash.toString('base64')].join('$');
  return { secrets: { password: text }, answer: { password: secret } };
}

export function createCredentials(core: Core): Credentials {
  const opened = new Map<string, Promise<Authority>>();
  async function authorityOf(project: string): Promise<Authority> {
    const found = core.view.get('projects', project);
    if (!found) throw new SkerryError('not_found', `there is no project "${project}"`);
    if (found.spec.devices?.authorities) {
      const text = `the project ${project} has authorities of its own (spec.devices.authorities): they sign certificates of devices, not this controller`;
      throw new SkerryError('phase_forbids', text);
    }
    const { uid } = found.metadata;
    let authority = opened.get(uid);
    if (!authority) {
      const { openAuthority } = await import('../auth/authority.ts');
      authority = openAuthority(join(core.dataDir, 'device-authorities', uid), core.clock.nowMs());
      opened.set(uid, authority);
      authority.catch(() => opened.delete(uid));
    }
    const { pem } = await authority;
    const own: OwnAuthority = { uid, pem };
    if (!same(core.view.get('device-authorities', project), own))
      await change(core, [keyOf('projects', project)], false, (draft) => {
        if (draft.get('projects', project)?.metadata.uid === uid)
          draft.put(keyOf('device-authorities', project), own);
      });
    return authority;
  }

  async function certificate(project: string, name: string, csr: string | undefined): Promise<Made> {
    const authority = await authorityOf(project);
    const { makeCertificate } = await import('./certificate.ts');
    const names = { project, name };
    const { fingerprint, ...answer } = await makeCertificate(authority, names, csr, core.clock.nowMs());
    return { secrets: { fingerprint }, answer };
  }

  return {
    async make(project, name, auth, csr) {
      if (auth === 'certificate') return certificate(project, name, csr);
      if (csr === undefined) return password();
      const text = `a certificate request goes with auth: certificate; ${name} proves itself by a password`;
      throw new SkerryError('request_invalid', text);
    },
  };
}
