/** The requests about devices. */
import type { DeviceManifest } from '@skerry/contract/schema';
import { requireManifest } from '@skerry/contract/schema';
import { type Device, SkerryError } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { requireConditions } from '../http/conditions.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing, requireListedProject } from '../http/listing.ts';
import { manifestOf, patchedManifest } from '../manifests/request.ts';
import { keyOf } from '../state/keys.ts';
import { touched } from '../state/resource.ts';
import { deleteDevice, missingDevice, putDevice } from './accept.ts';
import type { DeviceAuthority } from './authority.ts';
import { type Credentials, createCredentials, type Made } from './credentials.ts';
import type { DevicePresence } from './presence.ts';
import type { Shadows } from './shadows.ts';
import type { DeviceSecrets } from './stored.ts';

export interface DeviceParts {
  readonly presence: DevicePresence;
  readonly shadows: Shadows;
  readonly authority: DeviceAuthority;
}

export function deviceRoutes(core: Core, parts: DeviceParts): HandlersOf<'device'> {
  const { view } = core;
  const { presence, shadows, authority } = parts;
  const credentials: Credentials = createCredentials(core);
  const show = (device: Device) => presence.show(device);
  const find = (project: string, name: string) => {
    const stored = view.get('devices', project, name);
    if (!stored) throw missingDevice(project, name);
    return stored;
  };
  const answer = (project: string, name: string, status = 200) => {
    const stored = find(project, name);
    return { body: show(stored), status, revision: stored.metadata.revision };
  };
  const shadowOf = async (project: string, name: string) => shadows.show(project, name);

  /** Keeps what was made; the former counts no more. */
  async function keep(project: string, name: string, { secrets }: Made, manifest?: DeviceManifest) {
    await change(core, [keyOf('devices', project, name)], true, (draft, world) => {
      if (manifest) {
        if (draft.get('devices', project, name))
          throw new SkerryError(
            'already_exists',
            `the device ${name} exists: rotate makes its credentials anew`,
          );
        putDevice(draft, world, project, manifest);
      }
      const device = draft.get('devices', project, name);
      if (!device) throw missingDevice(project, name);
      const { uid } = device.metadata;
      const former = draft.get('device-secrets', project, name);
      const version = (former?.uid === uid ? former.version : 0) + 1;
      draft.put(keyOf('device-secrets', project, name), { uid, version, ...secrets } satisfies DeviceSecrets);
      const { fingerprint } = secrets;
      const made = { rotatedAt: world.now, ...(fingerprint !== undefined && { fingerprint }) };
      draft.put(keyOf('devices', project, name), {
        ...device,
        metadata: manifest ? device.metadata : touched(device.metadata, world.now, { spec: false }),
        status: { ...device.status, credentials: made },
      });
      if (manifest) return;
      const about = { kind: 'Device', project, name, uid };
      const message = `device ${name} proves itself by something new: what it had counts no more`;
      draft.event({ type: 'normal', reason: 'Rotated', message, about });
    });
  }
  const told = async (project: string, name: string, { answer: secret }: Made) => ({
    device: show(find(project, name)),
    ...secret,
    ...(secret.password !== undefined && { username: `${project}/${name}` }),
    authority: await authority.pem(),
    urls: presence.urls(),
  });

  return {
    async 'device.list'({ project, ...query }, context) {
      requireListedProject(core, project);
      return listing(core, 'devices', query, context, { project, show });
    },
    'device.show': async ({ project, name }) => answer(project, name),
    async 'device.create'({ project, body }) {
      const { name, labels, spec = {}, csr } = body;
      const manifest = requireManifest({
        apiVersion: 'skerry/v1',
        kind: 'Device',
        metadata: { name, ...(labels && { labels }) },
        spec: csr !== undefined && spec.auth === undefined ? { ...spec, auth: 'certificate' } : spec,
      }) as DeviceManifest;
      requireListedProject(core, project);
      if (view.get('devices', project, name))
        throw new SkerryError(
          'already_exists',
          `the device ${name} exists: rotate makes its credentials anew`,
        );
      const made = await credentials.make(project, name, manifest.spec.auth, csr);
      await keep(project, name, made, manifest);
      return { body: await told(project, name, made), status: 201 };
    },
    async 'device.put'({ project, name, body }, { conditions }) {
      const manifest = manifestOf(body, { kind: 'Device', project, name }) as DeviceManifest;
      const { result } = await change(core, [keyOf('devices', project, name)], true, (draft, world) =>
        putDevice(draft, world, project, manifest, conditions),
      );
      return answer(project, name, result.outcome === 'created' ? 201 : 200);
    },
    async 'device.patch'({ project, name, body }, { conditions }) {
      await change(core, [keyOf('devices', project, name)], true, (draft, world) => {
        const stored = draft.get('devices', project, name);
        if (!stored) throw missingDevice(project, name);
        requireConditions(conditions, stored.metadata.revision, `the device ${name}`);
        const manifest = patchedManifest(stored, body, { kind: 'Device', project, name });
        return putDevice(draft, world, project, manifest as DeviceManifest);
      });
      return answer(project, name);
    },
    async 'device.delete'({ project, name }, { conditions }) {
      const { result } = await change(core, [keyOf('devices', project, name)], true, (draft, world) =>
        deleteDevice(draft, world, project, name, conditions),
      );
      return { body: result.resource };
    },
    async 'device.rotate'({ project, name, body }) {
      const { spec } = find(project, name);
      const made = await credentials.make(project, name, spec.auth, body?.csr);
      await keep(project, name, made);
      return { body: await told(project, name, made) };
    },
    'device.shadow': async ({ project, name }) => shadowOf(project, name),
    async 'device.desire'({ project, name, body }, { conditions }) {
      await shadows.desire(project, name, body, conditions);
      return shadowOf(project, name);
    },
  };
}
