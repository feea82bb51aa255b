/** image: list, show, import, pull, build, delete. */
import { createReadStream, type Stats, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { formatBytes, type Image, SkerryError } from '@skerry/model';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { age } from '../durations.ts';
import { readTextFile, whyUnread } from '../read-file.ts';
import type { Column } from '../terminal/table.ts';
import { withFile } from './function.ts';
import { followOperation } from './operation.ts';

const COLUMNS: Column<Image>[] = [
  { title: 'NAME', value: (row) => row.spec.reference },
  { title: 'KIND', value: (row) => row.status.kind },
  { title: 'DIGEST', value: (row) => row.status.digest.slice(0, 19) },
  { title: 'SIZE', value: (row) => formatBytes(row.status.sizeBytes), right: true },
  { title: 'ARCH', value: (row) => row.status.arch },
  { title: 'AGE', value: (row) => age(row.metadata.createdAt) },
];

const described = (image: Image) =>
  `image/${image.spec.reference}: ${image.status.kind}, ${formatBytes(image.status.sizeBytes)}, ${image.status.digest}`;

/** What is sent: a file as it is; a folder as an archive, whose size nobody knows before. Errors: request_invalid, image_invalid. */
async function contentOf(
  path: string,
): Promise<{ body: AsyncIterable<Uint8Array>; lengthBytes?: number; what: string }> {
  let about: Stats;
  try {
    about = statSync(path);
    if (!about.isFile() && !about.isDirectory()) throw new Error('it is neither a file nor a folder');
  } catch (cause) {
    throw new SkerryError('request_invalid', `${path} can not be read: ${whyUnread(cause)}`, { cause });
  }
  const name = basename(resolve(path));
  if (about.isFile()) {
    const body = createReadStream(path, { highWaterMark: 1024 * 1024 });
    return { body, lengthBytes: about.size, what: `${name} (${formatBytes(about.size)})` };
  }
  const { packFolder } = await import('@skerry/images');
  return { body: await packFolder(path, new AbortController().signal), what: `the folder ${name}` };
}

export function registerImage(program: Command, context: Context): void {
  const image = program.command('image').alias('images').description('what guests start from');

  image
    .command('list')
    .description('images of the project')
    .action(() =>
      context.withClient(async (client) => {
        const { items } = await client.image.list({ project: context.project });
        await context.output.list(items, COLUMNS, `no images in project ${context.project}`);
      }),
    );

  image
    .command('show')
    .description('everything that was recognised in an image')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        const found = await client.image.show({ project: context.project, name });
        const { toYaml } = await import('../terminal/yaml.ts');
        await context.output.one(found, (value) =>
          toYaml({ reference: value.spec.reference, ...value.status }),
        );
      }),
    );

  image
    .command('import')
    .description(
      'take a disk, an ISO image, a root file system, a container archive (docker save, OCI), an OCI layout, a unikernel, a Linux kernel or an initramfs; which it is, its content tells',
    )
    .argument('<path>', 'a file; or a folder with an OCI layout or a root file system')
    .option('--name <reference>', 'the name it is to have; else what the file says')
    .action((path: string, options: { name?: string }) =>
      context.withClient(async (client) => {
        const { what, ...content } = await contentOf(path);
        const progress = context.progress(`importing ${what}`);
        const input = {
          ...{ project: context.project, ...content },
          ...(options.name === undefined ? {} : { reference: options.name }),
        };
        const { items } = await withFile(path, () => client.image.import(input)).finally(progress.end);
        await context.output.one(items, (all) => all.map(described).join('\n'));
      }),
    );

  image
    .command('pull')
    .description('fetch an image from a registry')
    .argument('<reference>', 'such as registry.example/team/app:1.2')
    .option('--insecure', 'plain HTTP, or a certificate that nobody vouches for')
    .option('--username <name>', 'the password is taken from SKERRY_REGISTRY_PASSWORD')
    .option('--no-wait', 'leave it to the background')
    .action((reference: string, options: { insecure?: boolean; username?: string; wait: boolean }) =>
      context.withClient(async (client) => {
        const password = process.env.SKERRY_REGISTRY_PASSWORD;
        if (options.username !== undefined && password === undefined) {
          throw new SkerryError(
            'request_invalid',
            '--username needs the password in SKERRY_REGISTRY_PASSWORD: an argument would be seen in the process list',
          );
        }
        const body = {
          reference,
          ...(options.insecure ? { insecure: true } : {}),
          ...(options.username !== undefined && password !== undefined
            ? { auth: { username: options.username, password } }
            : {}),
        };
        const operation = await client.image.pull({ project: context.project, body });
        if (!options.wait)
          return context.output.one(operation, (value) => `operation/${value.metadata.name} started`);
        const done = await followOperation(context, client, operation.metadata.name);
        await context.output.one(done, () => `image/${reference} pulled`);
      }),
    );

  image
    .command('build')
    .description('make an image of a JavaScript or TypeScript function: for manifests with runtime unikernel')
    .argument('<name>')
    .requiredOption('--from <file>', 'source: .js or .ts')
    .action((name: string, options: { from: string }) =>
      context.withClient(async (client) => {
        const body = { name, source: readTextFile(options.from), filename: basename(options.from) };
        const made = await withFile(options.from, () =>
          client.image.build({ project: context.project, body }),
        );
        await context.output.one(made, described);
      }),
    );

  image
    .command('delete')
    .description('forget images and free what no other image needs')
    .argument('<name...>')
    .action((names: string[]) =>
      context.withClient(async (client) => {
        const gone: { kind: string; name: string; outcome: string; freedBytes: number }[] = [];
        for (const name of names) {
          const { freedBytes } = await client.image.delete({ project: context.project, name });
          gone.push({ kind: 'Image', name, outcome: 'deleted', freedBytes });
        }
        await context.output.done(
          gone,
          gone.map((one) => `image/${one.name} deleted, ${formatBytes(one.freedBytes)} freed`).join('\n'),
        );
      }),
    );
}
