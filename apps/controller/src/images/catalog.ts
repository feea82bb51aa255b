/** The images of projects: names for content that the image store holds. Taking in and freeing never run at once. */
import type { ImageFacts } from '@skerry/images';
import { furtherDigests, type Image, imagesNeeded, SkerryError, type Workload } from '@skerry/model';
import { type Core, change } from '../core.ts';
import { requireProject } from '../manifests/guards.ts';
import { keyOf } from '../state/keys.ts';
import { newMetadata, same, touched } from '../state/resource.ts';
import { digestIn, normalReference } from './names.ts';

export interface Catalog {
  /** Runs `take` while nothing is freed, and gives what it took its names. */
  add(project: string, take: () => Promise<{ reference: string; facts: ImageFacts }[]>): Promise<Image[]>;
  /** Errors: not_found, in_use. */
  remove(
    project: string,
    reference: string,
    check: (revision: number) => void,
  ): Promise<{ reference: string; freedBytes: number }>;
}

export function createCatalog(core: Core): Catalog {
  let taking = 0;
  let quiet: (() => void)[] = [];
  let freeing: Promise<unknown> = Promise.resolve();

  const whenQuiet = async () => {
    while (taking > 0) await new Promise<void>((resolve) => quiet.push(resolve));
  };

  return {
    async add(project, take) {
      for (let seen: unknown; seen !== freeing; ) {
        seen = freeing;
        await freeing;
      }
      taking++;
      try {
        if (!core.view.get('projects', project))
          throw new SkerryError('not_found', `there is no project "${project}"`);
        const found = await take();
        const { result } = await change(
          core,
          found.map(({ reference }) => imageKey(project, reference)),
          false,
          (draft, world) => {
            requireProject(draft, project);
            return found.map(({ reference, facts }) => {
              const name = normalReference(reference);
              const stored = draft.get('images', project, name);
              if (stored && same(stored.status, facts)) return stored;
              const image: Image = {
                apiVersion: 'skerry/v1',
                kind: 'Image',
                metadata: stored
                  ? touched(stored.metadata, world.now, { spec: true })
                  : newMetadata({ name, project }, world.now),
                spec: { reference: name },
                status: facts,
              };
              draft.put(imageKey(project, name), image);
              const about = { kind: 'Image', project, name, uid: image.metadata.uid };
              draft.event({
                type: 'normal',
                reason: 'Added',
                message: `image ${name} is ${facts.digest}`,
                about,
              });
              return image;
            });
          },
        );
        return result.map((image) => core.view.get('images', project, image.metadata.name) ?? image);
      } finally {
        taking--;
        if (taking === 0) {
          const waiting = quiet;
          quiet = [];
          for (const resolve of waiting) resolve();
        }
      }
    },
    async remove(project, given, check) {
      const name = normalReference(given);
      await change(core, [imageKey(project, name)], true, (draft) => {
        const stored = draft.get('images', project, name);
        if (!stored) throw notNamed(core, project, name);
        check(stored.metadata.revision);
        const others = [...core.view.all('images', project)].some(
          (one) => one.metadata.name !== name && one.status.digest === stored.status.digest,
        );
        const users = [...core.view.all('workloads', project)]
          .filter(
            (one) =>
              namesIn(one.spec).some((used) => normalReference(used) === name) ||
              (!others && digestsIn(one.status).includes(stored.status.digest)),
          )
          .map((one) => one.metadata.name);
        if (users.length > 0) {
          throw new SkerryError('in_use', `the image ${name} is used by ${users.join(', ')}`, {
            details: { by: users },
          });
        }
        draft.delete(imageKey(project, name));
        const about = { kind: 'Image', project, name, uid: stored.metadata.uid };
        draft.event({ type: 'normal', reason: 'Deleted', message: `image ${name} was deleted`, about });
      });
      const freed: Promise<number> = freeing.then(async () => {
        await whenQuiet();
        const keep = new Set([...core.view.all('images')].map((image) => image.status.digest));
        for (const { spec } of core.view.all('instances'))
          for (const digest of imagesNeeded(spec)) keep.add(digest);
        return core.images.collect(keep);
      });
      freeing = freed.catch((error) => core.logger.warn({ err: error }, 'content could not be freed'));
      // Nobody waits for a pull of something else to end; what is free then is freed then.
      return { reference: name, freedBytes: taking > 0 ? 0 : await freed };
    },
  };
}

/** Of content that has names, one of these is to be given: what is deleted is a name. */
function notNamed(core: Core, project: string, name: string): SkerryError {
  const digest = digestIn(name);
  const names = [...core.view.all('images', project)]
    .filter(({ status }) => status.digest === digest)
    .map(({ spec }) => spec.reference);
  return names.length === 0
    ? new SkerryError('not_found', `there is no image "${name}" in the project ${project}`)
    : new SkerryError('request_invalid', `"${name}" is content, not a name: delete ${names.join(' and ')}`);
}

/** The names of all images that a workload is told to use, and what they stood for when it was accepted. */
const namesIn = ({ image, vm }: Workload['spec']): string[] =>
  [image, vm?.cdrom, vm?.boot?.kernel, vm?.boot?.initrd].filter((name) => name !== undefined);
const digestsIn = (status: Workload['status']): string[] => [
  ...(status.imageDigest === undefined ? [] : [status.imageDigest]),
  ...Object.values(furtherDigests(status)),
];

const imageKey = (project: string, reference: string) => keyOf('images', project, normalReference(reference));
