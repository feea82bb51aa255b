/** What is done to a guest through the agent of its node, and is not remembered: holding still, snapshots, sizes, its screen. */
import { type Instance, parseBytes } from '@skerry/model';
import type { Core } from '../core.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { linkOf } from '../nodes/link.ts';

/** Memory of some gigabytes has to be written to a slow disk. */
const LIMIT_MS = 600_000;

type Verbs =
  | 'instance.pause'
  | 'instance.resume'
  | 'instance.snapshots'
  | 'instance.snapshot'
  | 'instance.restore'
  | 'instance.forget'
  | 'instance.grow'
  | 'instance.memory'
  | 'instance.display'
  | 'instance.screenshot';

export function guestVerbs(
  core: Core,
  find: (project: string, name: string) => Instance,
): Pick<HandlersOf<'instance'>, Verbs> {
  const at = ({ project, name }: { project: string; name: string }) => linkOf(core, find(project, name));
  // Who asked and went away does not undo what was begun: half a snapshot would help nobody.
  const limit = () => AbortSignal.timeout(LIMIT_MS);
  const done = (name: string) => ({ body: { instance: name } });
  return {
    async 'instance.pause'(input) {
      const { link, uid } = at(input);
      await link.pause(uid, limit());
      return done(input.name);
    },
    async 'instance.resume'(input) {
      const { link, uid } = at(input);
      await link.resume(uid, limit());
      return done(input.name);
    },
    async 'instance.snapshots'(input, { signal }) {
      const { link, uid } = at(input);
      return { body: { items: await link.snapshots(uid, signal) } };
    },
    async 'instance.snapshot'(input) {
      const { link, uid } = at(input);
      return { body: await link.takeSnapshot(uid, input.body.name, limit()) };
    },
    async 'instance.restore'(input) {
      const { link, uid } = at(input);
      await link.restoreSnapshot(uid, input.snapshot, limit());
      return done(input.name);
    },
    async 'instance.forget'(input) {
      const { link, uid } = at(input);
      await link.removeSnapshot(uid, input.snapshot, limit());
      return done(input.name);
    },
    async 'instance.grow'(input) {
      const { link, uid } = at(input);
      await link.growDisk(uid, parseBytes(input.body.disk), limit());
      return done(input.name);
    },
    async 'instance.memory'(input) {
      const { link, uid } = at(input);
      await link.setMemory(uid, parseBytes(input.body.memory), limit());
      return done(input.name);
    },
    async 'instance.display'(input, { signal }) {
      const instance = find(input.project, input.name);
      const { link, uid } = linkOf(core, instance);
      return { body: { node: instance.spec.node!, socket: await link.display(uid, signal) } };
    },
    async 'instance.screenshot'(input, { signal }) {
      const { link, uid } = at(input);
      const png = await link.screenshot(uid, signal);
      return { body: { contentType: 'image/png', base64: Buffer.from(png).toString('base64') } };
    },
  };
}
