/** The requests about images. An image belongs to a project: another tenant must neither see nor overwrite it. Content is shared. */
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { SkerryError } from '@skerry/model';
import type { Core } from '../core.ts';
import { requireConditions } from '../http/conditions.ts';
import type { HandlersOf } from '../http/handlers.ts';
import { listing, requireListedProject } from '../http/listing.ts';
import type { Operations } from '../operations/runner.ts';
import { keyOf } from '../state/keys.ts';
import { requireStored } from '../workloads/routes.ts';
import type { Catalog } from './catalog.ts';
import { digestIn, normalReference } from './names.ts';
import { PULL } from './pull.ts';

export const uploadFolder = (dataDir: string): string => join(dataDir, 'uploads');

export function imageRoutes(core: Core, catalog: Catalog, operations: Operations): HandlersOf<'image'> {
  return {
    async 'image.list'({ project, ...query }, context) {
      requireListedProject(core, project);
      return listing(core, 'images', query, context, { project });
    },
    'image.show': async ({ project, name }) => {
      const digest = digestIn(name);
      const named = core.view.get('images', project, normalReference(name));
      const found =
        named ?? [...core.view.all('images', project)].find((one) => one.status.digest === digest);
      return requireStored(
        core,
        keyOf('images', project, found?.metadata.name ?? normalReference(name)),
        `image "${normalReference(name)}" in the project ${project}`,
      );
    },
    async 'image.import'({ project, reference }, { stream, signal }) {
      requireListedProject(core, project);
      if (!stream)
        throw new SkerryError(
          'request_invalid',
          'the body must be the file itself, as application/octet-stream',
        );
      const items = await catalog.add(project, () =>
        withUpload(core, stream, (path) =>
          core.images.importFile(path, {
            signal,
            ...(reference !== undefined && { reference: normalReference(reference) }),
          }),
        ),
      );
      return { body: { items } };
    },
    async 'image.build'({ project, body }) {
      requireListedProject(core, project);
      const [image] = await catalog.add(project, async () => {
        const facts = await core.images.createFunction(body.source, body.filename);
        return [{ reference: normalReference(body.name), facts }];
      });
      return { body: image!, revision: image!.metadata.revision };
    },
    async 'image.pull'({ project, body }) {
      requireListedProject(core, project);
      const { insecure, auth } = body;
      const reference = normalReference(body.reference);
      const operation = await operations.begin({
        action: PULL,
        target: reference,
        project,
        input: { reference, ...(insecure !== undefined && { insecure }) },
        secret: auth,
      });
      return { body: operation, revision: operation.metadata.revision };
    },
    'image.delete': async ({ project, name }, { conditions }) => ({
      body: await catalog.remove(project, name, (revision) =>
        requireConditions(conditions, revision, `the image ${name}`),
      ),
    }),
  };
}

/** The body in a file of its own, which goes whatever happens. Errors: disk_full, request_invalid. */
async function withUpload<T>(core: Core, stream: Readable, work: (path: string) => Promise<T>): Promise<T> {
  const folder = uploadFolder(core.dataDir);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, randomBytes(12).toString('hex'));
  try {
    try {
      await pipeline(stream, createWriteStream(path, { mode: 0o600, flags: 'wx' }));
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === 'ENOSPC' || code === 'EDQUOT') {
        throw new SkerryError('disk_full', 'there is no space for the image', { cause: error });
      }
      throw new SkerryError('request_invalid', 'the upload broke off', { cause: error });
    }
    return await work(path);
  } finally {
    await rm(path, { force: true });
  }
}
