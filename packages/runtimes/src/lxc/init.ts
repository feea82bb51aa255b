/** What a system container starts first, and how that is asked to end: each init has its own way. */
import { readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, join } from 'node:path';
import type { RootfsFacts } from '@skerry/images';
import { SkerryError } from '@skerry/model';
import type { GuestSpec } from '../port.ts';

export interface InitManner {
  readonly command: readonly string[];
  /** A signal to init, or a command inside. */
  readonly halt: { readonly signal: number } | { readonly command: readonly string[] };
}

/** systemd(1), SIGNALS: SIGRTMIN+3 starts halt.target; glibc's SIGRTMIN is 34. */
const SIGRTMIN_3 = 37;
const { SIGTERM, SIGUSR2, SIGPWR } = constants.signals;

type Halt = InitManner['halt'];

/** `program`: what the path of init leads to. */
function haltOf(kind: string, program: string): Halt {
  if (program === 'systemd') return { signal: SIGRTMIN_3 };
  if (program === 'busybox') return { signal: SIGUSR2 }; // busybox, init/init.c: power-off
  if (program === 'openrc-init') return { command: ['/sbin/openrc-shutdown', '--poweroff', 'now'] };
  if (kind === 'systemd') return { signal: SIGRTMIN_3 };
  if (kind === 'busybox') return { signal: SIGUSR2 };
  if (kind === 'openrc' || kind === 'sysvinit') return { command: ['/sbin/telinit', '0'] };
  return { signal: SIGPWR }; // lxc.container.conf(5), lxc.signal.halt
}

/** One link of the image's, without following it on the host. */
function programOf(image: string, path: string): string {
  try {
    return basename(readlinkSync(join(image, path)));
  } catch {
    return basename(path);
  }
}

/** `image`: the unpacked root. Errors: image_invalid where there is nothing to start. */
export function initManner(spec: GuestSpec, facts: RootfsFacts, image: string): InitManner {
  const args = spec.args ?? [];
  // A program, not an init: it is asked to end as programs are.
  if (spec.command && spec.command.length > 0)
    return { command: [...spec.command, ...args], halt: { signal: SIGTERM } };
  const path = spec.system?.init ?? facts.init?.path;
  if (path === undefined)
    throw new SkerryError(
      'image_invalid',
      `${spec.name}: the image has no init: name one as system.init, or a command`,
    );
  const kind = path === facts.init?.path ? facts.init.kind : 'other';
  return { command: [path, ...args], halt: haltOf(kind, programOf(image, path)) };
}
