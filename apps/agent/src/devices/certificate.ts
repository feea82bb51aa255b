/**
 * What the node proves itself with to devices: `<dataDir>/devices/tls/`, readable by its owner only. The key never leaves the
 * machine; the certificate is asked for with the names and addresses of the node, and anew when those differ or a third of
 * its life is left. Without a controller it goes on with the one it has.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ControllerLink } from '@skerry/contract';
import { type Identity, writeFileDurably } from '@skerry/host';
import type { Clock } from '@skerry/reconcile';
import { devicesFolder } from './program.ts';

export interface DeviceCertificateOptions {
  readonly identity: Identity;
  readonly node: string;
  /** IP addresses and DNS names at which devices reach the node. */
  readonly names: () => readonly string[];
  readonly clock: Clock;
}

interface About {
  readonly names: readonly string[];
}

export class DeviceCertificate {
  readonly #options: DeviceCertificateOptions;
  readonly #folder: string;

  constructor(options: DeviceCertificateOptions) {
    this.#options = options;
    this.#folder = join(devicesFolder(options.identity), 'tls');
  }

  /** Undefined where there is none yet. */
  get paths(): { readonly key: string; readonly certificate: string } | undefined {
    const [key, certificate] = [join(this.#folder, 'node.key'), join(this.#folder, 'node.crt')];
    return existsSync(certificate) && existsSync(key) ? { key, certificate } : undefined;
  }

  /** Returns whether it is another one now. Errors: those of the controller. */
  async ensure(link: ControllerLink): Promise<boolean> {
    const { names, node } = this.#options;
    const wanted = [...names()].sort();
    if (!link.deviceCertificate || this.#isGood(wanted)) return false;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    // the room of certificates is large: it is loaded when one is made
    const { certificateRequest } = await import('../link/credentials.ts');
    const request = await certificateRequest({
      read: (name) => this.#read(name),
      write: (name, text) => writeFileDurably(join(this.#folder, name), text),
    });
    const { certificate, authority } = await link.deviceCertificate(node, { request, names: wanted });
    writeFileDurably(join(this.#folder, 'ca.crt'), authority, 0o644);
    writeFileDurably(join(this.#folder, 'node.crt'), `${certificate}\n${authority}`);
    writeFileDurably(join(this.#folder, 'about.json'), JSON.stringify({ names: wanted } satisfies About));
    return true;
  }

  #read(name: string): string | undefined {
    const path = join(this.#folder, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  }

  #isGood(names: readonly string[]): boolean {
    const [text, about] = [this.#read('node.crt'), this.#read('about.json')];
    if (!this.paths || text === undefined || about === undefined) return false;
    try {
      const { validFrom, validTo } = new X509Certificate(text);
      const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
      const known = (JSON.parse(about) as About).names;
      return (
        this.#options.clock.nowMs() < to - (to - from) / 3 && JSON.stringify(known) === JSON.stringify(names)
      );
    } catch {
      return false;
    }
  }
}
