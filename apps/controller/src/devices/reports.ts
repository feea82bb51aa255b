/** What nodes report of devices: presence stays in memory; a device at another node, an enrolment, a reported state are stored. */
import type { DeviceReport } from '@skerry/contract';
import { NAME_PATTERN } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { keyOf } from '../state/keys.ts';
import { touched } from '../state/resource.ts';
import { putDevice } from './accept.ts';
import type { DevicePresence } from './presence.ts';
import type { Reported, Shadows } from './shadows.ts';
import type { State } from './stored.ts';

const NAME = new RegExp(NAME_PATTERN);
/** Of one report. The node tells the others again. */
const MOST_ENROLLED = 500;
/** Those whose wish to be taken in was refused are told once, and no more than these. */
const MOST_REFUSED = 1000;

export interface DeviceReports {
  take(node: string, report: DeviceReport): Promise<void>;
}

export function createDeviceReports(core: Core, presence: DevicePresence, shadows: Shadows): DeviceReports {
  const { view } = core;
  const refused = new Set<string>();

  async function settle(node: string, devices: DeviceReport['devices']): Promise<void> {
    const moved = devices.filter(({ project, name, connected }) => {
      const device = connected ? view.get('devices', project, name) : undefined;
      return device && device.status.node !== node;
    });
    if (moved.length === 0) return;
    await change(core, [], false, (draft, world) => {
      for (const { project, name } of moved) {
        const device = draft.get('devices', project, name);
        if (!device || device.status.node === node) continue;
        const before = device.status.node;
        draft.put(keyOf('devices', project, name), {
          ...device,
          metadata: touched(device.metadata, world.now, { spec: false }),
          status: { ...device.status, node },
        });
        if (before === undefined) continue;
        const about = { kind: 'Device', project, name, uid: device.metadata.uid };
        const message = `device ${name} moved from node ${before} to node ${node}`;
        draft.event({ type: 'normal', reason: 'Moved', message, about });
      }
    });
  }

  function refuse(node: string, project: string, name: string): void {
    const key = `${project}/${name}`;
    if (refused.has(key) || refused.size >= MOST_REFUSED) return;
    refused.add(key);
    const message = `device ${name} showed a certificate at node ${node} and is not known: the project ${project} takes in by hand only (spec.devices.enrolment)`;
    core.events.emit({
      type: 'warning',
      reason: 'EnrolmentRefused',
      message,
      about: { kind: 'Project', name: project },
    });
  }

  async function enrol(node: string, wishes: NonNullable<DeviceReport['enrol']>): Promise<void> {
    const wanted = wishes.slice(0, MOST_ENROLLED).filter(({ project, name, fingerprint }) => {
      const found = view.get('projects', project);
      if (!found || found.metadata.deletedAt || !NAME.test(name) || !/^[0-9a-f]{64}$/i.test(fingerprint))
        return false;
      if (view.get('devices', project, name)) return false;
      if (found.spec.devices?.enrolment === 'automatic') return true;
      refuse(node, project, name);
      return false;
    });
    if (wanted.length === 0) return;
    const keys = wanted.map(({ project, name }) => keyOf('devices', project, name));
    await change(core, keys, false, (draft, world) => {
      for (const { project, name, fingerprint } of wanted) {
        const automatic = draft.get('projects', project)?.spec.devices?.enrolment === 'automatic';
        if (!automatic || draft.get('devices', project, name)) continue;
        const manifest = {
          apiVersion: 'skerry/v1' as const,
          kind: 'Device' as const,
          metadata: { name },
          spec: { auth: 'certificate' as const },
        };
        const { resource } = putDevice(draft, world, project, manifest);
        const credentials = { rotatedAt: world.now, fingerprint: fingerprint.toLowerCase() };
        draft.put(keyOf('devices', project, name), {
          ...resource,
          status: { ...resource.status, credentials },
        });
        const about = { kind: 'Device', project, name, uid: resource.metadata.uid };
        const message = `device ${name} was taken in at node ${node}: its certificate is one of the project`;
        draft.event({ type: 'normal', reason: 'Enrolled', message, about });
      }
    });
  }

  return {
    async take(node, report) {
      if (report.enrol) await enrol(node, report.enrol);
      presence.take(node, report);
      await settle(node, report.devices);
      const said = report.devices.flatMap(({ project, name, reported }): Reported[] =>
        reported ? [{ project, name, node, version: reported.version, state: reported.state as State }] : [],
      );
      await shadows.take(said);
    },
  };
}
