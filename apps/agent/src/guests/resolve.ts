/**
 * From the words of a manifest to what a runtime and the network need: units parsed, defaults filled in, the
 * incarnation drawn. Pure; the manifest was validated by the controller, so a unit that can't be read is a defect.
 */
import { createHash } from 'node:crypto';
import type { DesiredInstance } from '@skerry/contract';
import {
  defaultMemoryBytes,
  type FurtherDigests,
  furtherDigests,
  GUEST_DEFAULTS,
  guestWords,
  type Image,
  type Millis,
  parseBandwidth,
  parseBytes,
  parseMillis,
  type RuntimeKind,
  type WorkloadSpec,
} from '@skerry/model';
import { type Attachment, type AttachRequest, cardMac } from '@skerry/network';
import type { HealthPolicy, RestartPolicy } from '@skerry/reconcile';
import type { GuestSpec, VmGuest } from '@skerry/runtimes';

/**
 * Changes when, and only when, the guest must be made anew. Drawn from the manifest's own words, not from the resolved
 * spec: a new default in a later version of the agent must not replace guests that run.
 */
export function incarnationOf(desired: DesiredInstance): string {
  const { template, network, imageDigest, restarts, rebuilds } = desired.spec;
  const { resources, env, ...words } = guestWords(template);
  const { address: ip, mac } = network ?? {};
  const images = { imageDigest, ...furtherDigests(desired.spec) };
  const all = { ...words, ...resources, ...images, ip, mac, restarts, rebuilds, env };
  return createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 16);
}

/** Runtimes whose guests are machines to people: their root disk stays until image or rebuild counter say otherwise. */
const LASTING: ReadonlySet<RuntimeKind> = new Set(['vm', 'system']);

/** A unikernel has nothing that lasts but block devices of its own, which it gets with `disk`. */
const hasBlocks = ({ runtime, resources }: WorkloadSpec): boolean =>
  runtime === 'unikernel' && resources?.disk !== undefined;

export const isLasting = (template: WorkloadSpec): boolean =>
  LASTING.has(template.runtime) || hasBlocks(template);

/** What the root disk was made from; undefined where it goes with each incarnation. */
function rootOf({ spec: { template, imageDigest, rebuilds } }: DesiredInstance): string | undefined {
  if (hasBlocks(template)) return `blocks/${rebuilds}`; // made from no image: they outlive another one
  return isLasting(template) ? `${imageDigest}/${rebuilds}` : undefined;
}

/** Undefined: this guest is not on the node network (`sim` has no packets). */
export function attachRequestOf(desired: DesiredInstance): AttachRequest | undefined {
  const { template, network } = desired.spec;
  if (!network || template.runtime === 'sim') return undefined;
  const bandwidth = template.resources?.bandwidth;
  const cards = template.vm?.networks?.map(({ name, address, mac = cardMac(desired.uid, name) }) => ({
    ...{ network: name, mac },
    ...(address !== undefined && { address }),
  }));
  return {
    uid: desired.uid,
    hostname: desired.name,
    kind: template.runtime === 'container' || template.runtime === 'system' ? 'netns' : 'tap',
    slot: network.slot,
    address: network.address,
    ...(network.address6 !== undefined && { address6: network.address6 }),
    mac: network.mac,
    ports: (template.ports ?? []).map(({ name, port, protocol, publish }) => ({
      name,
      port,
      protocol: protocol ?? 'tcp',
      ...(publish === undefined ? {} : { publish }),
    })),
    ...(cards && { cards }),
    ...(bandwidth && {
      bandwidth: {
        ...(bandwidth.in === undefined ? {} : { inBps: parseBandwidth(bandwidth.in) }),
        ...(bandwidth.out === undefined ? {} : { outBps: parseBandwidth(bandwidth.out) }),
      },
    }),
  };
}

export interface GuestParts {
  readonly attachment: Attachment | undefined;
  /** Volume name -> folder on the host. */
  readonly volumePaths: ReadonlyMap<string, string>;
}

export function guestSpecOf(desired: DesiredInstance, parts: GuestParts): GuestSpec {
  const { template, imageDigest, workload } = desired.spec;
  const { resources, security, command, args, workingDir, sim } = template;
  const root = rootOf(desired);
  return {
    uid: desired.uid,
    name: desired.name,
    project: desired.project,
    workload,
    runtime: template.runtime,
    incarnation: incarnationOf(desired),
    imageDigest,
    ...(root !== undefined && { root }),
    cpus: resources?.cpus ?? GUEST_DEFAULTS.cpus,
    memoryBytes:
      resources?.memory === undefined ? defaultMemoryBytes(template.runtime) : parseBytes(resources.memory),
    ...(resources?.disk === undefined ? {} : { diskBytes: parseBytes(resources.disk) }),
    pids: resources?.pids ?? GUEST_DEFAULTS.pids,
    ...(command && { command }),
    ...(args && { args }),
    ...(workingDir !== undefined && { workingDir }),
    env: template.env ?? {},
    ...(parts.attachment && { network: parts.attachment }),
    addressing: template.address ?? GUEST_DEFAULTS.addressing,
    ports: (template.ports ?? []).map(({ name, port, protocol }) => ({
      name,
      port,
      protocol: protocol ?? 'tcp',
    })),
    volumes: (template.volumes ?? []).map(({ name, mount, readOnly }) => ({
      name,
      hostPath: parts.volumePaths.get(name)!, // the plan has a step for each volume of the template
      mount,
      readOnly: readOnly ?? false,
    })),
    security: {
      readOnlyRoot: security?.readOnlyRoot ?? false,
      ...(security?.user !== undefined && { user: security.user }),
      capabilities: security?.capabilities ?? [],
      userNamespace: security?.userNamespace ?? false,
    },
    ...(template.display !== undefined && { display: template.display }),
    ...(template.runtime === 'vm' && { vm: vmGuestOf(template, desired.spec) }),
    ...(template.runtime === 'system' && {
      system: {
        nesting: template.system?.nesting ?? false,
        ...(template.system?.init !== undefined && { init: template.system.init }),
      },
    }),
    ...(sim && { sim }),
  };
}

function vmGuestOf({ vm = {} }: WorkloadSpec, digests: FurtherDigests): VmGuest {
  const { firmware, secureBoot = false, tpm = false, cpuModel = 'portable', cloudInit, boot } = vm;
  const { cdromDigest, kernelDigest, initrdDigest } = digests;
  return {
    ...{ secureBoot, tpm, cpuModel },
    ...(firmware && { firmware }),
    ...(cdromDigest !== undefined && { cdromDigest }),
    ...(kernelDigest !== undefined && {
      boot: {
        kernelDigest,
        ...(initrdDigest !== undefined && { initrdDigest }),
        arguments: boot?.arguments ?? '',
      },
    }),
    ...(cloudInit && { cloudInit: { ...cloudInit, sshKeys: cloudInit.sshKeys ?? [] } }),
  };
}

export const stopGraceOf = (template: WorkloadSpec): Millis =>
  template.stopGrace === undefined ? GUEST_DEFAULTS.stopGraceMs : parseMillis(template.stopGrace);

export const restartPolicyOf = (template: WorkloadSpec): RestartPolicy =>
  template.restart ?? GUEST_DEFAULTS.restart;

export type HealthTarget =
  | { readonly kind: 'http'; readonly port: number; readonly path: string }
  | { readonly kind: 'tcp'; readonly port: number }
  | { readonly kind: 'exec'; readonly command: readonly string[] };

export interface HealthCheck {
  readonly target: HealthTarget;
  readonly policy: HealthPolicy;
}

/**
 * Undefined: running means that the process runs. A guest with its own kernel or its own init is not ready because its
 * hypervisor or its init lives, so without a check of its own a function is asked for pebble's /healthz, any other for a
 * connection to its first port.
 */
export function healthCheckOf(
  template: WorkloadSpec,
  imageKind: Image['status']['kind'] | undefined,
): HealthCheck | undefined {
  const target = healthTargetOf(template, imageKind);
  if (!target) return undefined;
  const { interval, timeout, failures, startPeriod } = template.health ?? {};
  const defaults = GUEST_DEFAULTS.health;
  return {
    target,
    policy: {
      intervalMs: interval === undefined ? defaults.intervalMs : parseMillis(interval),
      timeoutMs: timeout === undefined ? defaults.timeoutMs : parseMillis(timeout),
      failures: failures ?? defaults.failures,
      startPeriodMs:
        startPeriod !== undefined
          ? parseMillis(startPeriod)
          : template.runtime === 'vm'
            ? defaults.machineStartPeriodMs
            : defaults.startPeriodMs,
    },
  };
}

const OWN_SYSTEM: ReadonlySet<RuntimeKind> = new Set(['unikernel', 'vm', 'system']);

function healthTargetOf(
  template: WorkloadSpec,
  imageKind: Image['status']['kind'] | undefined,
): HealthTarget | undefined {
  const { http, tcp, exec } = template.health ?? {};
  if (http) return { kind: 'http', port: http.port, path: http.path ?? GUEST_DEFAULTS.health.path };
  if (tcp) return { kind: 'tcp', port: tcp.port };
  if (exec) return { kind: 'exec', command: exec.command };
  if (!OWN_SYSTEM.has(template.runtime)) return undefined;
  const port = template.ports?.find(({ protocol }) => protocol !== 'udp')?.port;
  if (imageKind === 'function') return { kind: 'http', port: port ?? 8080, path: GUEST_DEFAULTS.health.path };
  return port === undefined ? undefined : { kind: 'tcp', port };
}
