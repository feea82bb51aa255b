/**
 * What devices trust: an authority of its own, in `<dataDir>/device-authority/tls/`, apart from the one of controller and
 * agents, so that a node that proves itself to devices can never pass for the controller.
 */
import { isIP } from 'node:net';
import { join } from 'node:path';
import { SkerryError } from '@skerry/model';
import type { Authority } from '../auth/authority.ts';

const MOST_NAMES = 64;
const DNS_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;

export interface DeviceAuthority {
  /** Certificates in PEM. Made when it is missing. */
  pem(): Promise<string>;
  /** Of the node, for the key of the request. Errors: request_invalid. */
  sign(
    node: string,
    request: { readonly request: string; readonly names: readonly string[] },
  ): Promise<{ readonly certificate: string; readonly authority: string }>;
}

export function createDeviceAuthority(dataDir: string, nowMs: () => number): DeviceAuthority {
  let opened: Promise<Authority> | undefined;
  // certificates are a large room: it is loaded when the first node asks
  const open = () => {
    opened ??= import('../auth/authority.ts').then(({ openAuthority }) =>
      openAuthority(join(dataDir, 'device-authority'), nowMs()),
    );
    opened.catch(() => {
      opened = undefined;
    });
    return opened;
  };
  return {
    pem: async () => (await open()).pem,
    async sign(node, { request, names }) {
      if (!Array.isArray(names) || names.length > MOST_NAMES || typeof request !== 'string')
        throw new SkerryError('request_invalid', `a certificate has at most ${MOST_NAMES} names`);
      const strange = names.find((name) => typeof name !== 'string' || (!isIP(name) && !DNS_NAME.test(name)));
      if (strange !== undefined)
        throw new SkerryError(
          'request_invalid',
          `"${String(strange)}" is no address and no name of a machine`,
        );
      const authority = await open();
      return {
        certificate: await authority.signServer(request, node, names, nowMs()),
        authority: authority.pem,
      };
    },
  };
}
