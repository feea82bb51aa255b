/** The operation that fetches an image from a registry. The image store resumes where it stopped, so it may begin again. */
import type { Core } from '../core.ts';
import type { Worker } from '../operations/runner.ts';
import type { Catalog } from './catalog.ts';

export const PULL = 'image.pull';

export function pullWorker(core: Core, catalog: Catalog): Worker {
  return async (input, { project, signal, progress, secret }) => {
    const reference = String(input.reference);
    const [image] = await catalog.add(project, async () => {
      const facts = await core.images.pull(reference, {
        signal,
        ...(input.insecure === true && { insecure: true }),
        ...(secret !== undefined && { auth: secret as { username: string; password: string } }),
        progress: (done, total) => progress(total > 0 ? done / total : 0, `${done} of ${total} bytes`),
      });
      return [{ reference, facts }];
    });
    return {
      reference: image!.spec.reference,
      digest: image!.status.digest,
      sizeBytes: image!.status.sizeBytes,
    };
  };
}
