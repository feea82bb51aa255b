/** What the schemas of projects and streams can't say of a single document. Pure. */
import { X509Certificate } from 'node:crypto';
import type { Refusal } from './explain.ts';
import type { ProjectManifest, StreamManifest } from './kinds.ts';

function flawOfAuthority(pem: string): string | undefined {
  try {
    const { ca } = new X509Certificate(pem);
    return ca ? undefined : 'is a certificate that may sign no others (its basic constraints say CA:FALSE)';
  } catch {
    return 'is no certificate in PEM';
  }
}

export function refuseProject({ spec }: ProjectManifest): Refusal[] {
  return (spec.devices?.authorities ?? []).flatMap((pem, at) => {
    const message = flawOfAuthority(pem);
    return message ? [{ path: ['spec', 'devices', 'authorities', at], atKey: false, message }] : [];
  });
}

/** Secrets have fields of their own, where they are never shown. */
export function refuseStream({ spec }: StreamManifest): Refusal[] {
  return spec.to.flatMap((sink, at): Refusal[] => {
    const refuse = (path: string[], message: string) => [
      { path: ['spec', 'to', at, ...path], atKey: false, message },
    ];
    const remote = 'mqtt' in sink ? sink.mqtt : 'webhook' in sink ? sink.webhook : undefined;
    if (!remote) return [];
    const kind = 'mqtt' in sink ? 'mqtt' : 'webhook';
    if (!URL.canParse(remote.url)) return refuse([kind, 'url'], 'is no URL');
    const { username, password } = new URL(remote.url);
    if (username !== '' || password !== '') {
      const instead = kind === 'mqtt' ? 'username and password' : 'token';
      return refuse([kind, 'url'], `has a name or a password in it, which would be shown: say ${instead}`);
    }
    const headers = 'webhook' in sink ? Object.keys(sink.webhook.headers ?? {}) : [];
    const secret = headers.find((name) => /^(proxy-)?authorization$|^cookie$/i.test(name));
    return secret === undefined
      ? []
      : refuse([kind, 'headers', secret], 'would be shown: say token, which is sent as a bearer token');
  });
}
