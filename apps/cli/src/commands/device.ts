/** device: list, show, create, rotate, delete, shadow. Secrets are shown once, and written to files only where that is asked for. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '@skerry/contract';
import { type Device, SkerryError } from '@skerry/model';
import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { age } from '../durations.ts';
import { readTextFile, whyUnread } from '../read-file.ts';
import type { Column } from '../terminal/table.ts';

const COLUMNS: Column<Device>[] = [
  { title: 'NAME', value: (row) => row.metadata.name },
  { title: 'STATE', value: (row) => stateOf(row) },
  { title: 'NODE', value: (row) => row.status.node },
  { title: 'SEEN', value: (row) => (row.status.lastSeen ? age(row.status.lastSeen) : '') },
  { title: 'AUTH', value: (row) => authOf(row) },
  { title: 'ATTACHED TO', value: (row) => row.spec.attachedTo },
  {
    title: 'LABELS',
    value: (row) =>
      Object.entries(row.metadata.labels)
        .map(([name, value]) => `${name}=${value}`)
        .join(','),
  },
];

function stateOf({ spec, status }: Device): string {
  if (spec.disabled) return 'disabled';
  return status.connected ? 'connected' : 'away';
}
function authOf({ spec, status }: Device): string {
  if (!status.credentials) return '(none yet)';
  return spec.auth ?? (status.credentials.fingerprint ? 'certificate' : 'password');
}

type Made = Awaited<ReturnType<Client['device']['create']>>;

/** `room=a` to a map. Errors: request_invalid. */
function pairs(texts: readonly string[], option: string): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1)
        throw new SkerryError('request_invalid', `${option} "${text}" is not of the form name=value`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

/** What JSON can say is taken so (`true`, `21.5`, `null`); anything else is text. */
function settingOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** `colour.r=1` as a merge patch. */
export function patchOf(settings: readonly string[]): Record<string, unknown> {
  const patch = new Map<string, unknown>();
  for (const [path, text] of Object.entries(pairs(settings, '--set'))) {
    const [first = '', ...rest] = path.split('.');
    const inner = rest.reduceRight<unknown>((value, name) => ({ [name]: value }), settingOf(text));
    patch.set(first, joined(patch.get(first), inner));
  }
  return Object.fromEntries(patch);
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
function joined(before: unknown, more: unknown): unknown {
  if (!isMap(before) || !isMap(more)) return more;
  const all = new Map(Object.entries(before));
  for (const [name, value] of Object.entries(more)) all.set(name, joined(all.get(name), value));
  return Object.fromEntries(all);
}

function write(folder: string, name: string, text: string, mode: number): string {
  const path = join(folder, name);
  try {
    // never over another key: it is shown once
    writeFileSync(path, text, { mode, flag: 'wx' });
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'EEXIST' ? 'it is there already' : whyUnread(cause);
    throw new SkerryError('request_invalid', `${path} can not be written: ${why}`, { cause });
  }
  return path;
}

async function tell(context: Context, made: Made, word: string, folder: string | undefined): Promise<void> {
  const { name } = made.device.metadata;
  const lines = [`device/${name} ${word}`];
  const { key, certificate, authority, ...rest } = made;
  const pems = [
    ['key', '.key', key, 0o600],
    ['certificate', '.crt', certificate, 0o644],
    ['authority', '.ca.crt', authority, 0o644],
  ] as const;
  if (folder !== undefined)
    for (const [word, end, pem, mode] of pems)
      if (pem !== undefined) lines.push(`${word.padEnd(12)} ${write(folder, `${name}${end}`, pem, mode)}`);
  if (made.username !== undefined) lines.push(`user name    ${made.username}`);
  if (made.password !== undefined) lines.push(`password     ${made.password}   (shown this once)`);
  for (const url of made.urls) lines.push(`url          ${url}`);
  if (folder === undefined) for (const [, , pem] of pems) if (pem !== undefined) lines.push(pem.trimEnd());
  await context.output.one(folder === undefined ? made : rest, () => lines.join('\n'));
}

interface CreateOptions {
  readonly auth?: 'password' | 'certificate';
  readonly csr?: string;
  readonly attachedTo?: string;
  readonly label: string[];
  readonly folder?: string;
}
const collect = (value: string, before: string[]) => [...before, value];

export function registerDevice(program: Command, context: Context): void {
  const device = program.command('device').alias('devices').description('what sends data');
  const project = () => context.project;
  device
    .command('list')
    .description('devices of the project')
    .option('-l, --selector <labels>', 'only those with these labels, such as room=a')
    .action(({ selector }: { selector?: string }) =>
      context.withClient(async (client) => {
        const items: Device[] = [];
        let cursor: string | undefined;
        do {
          const page = await client.device.list({
            project: project(),
            ...(selector !== undefined && { selector }),
            ...(cursor !== undefined && { cursor }),
          });
          items.push(...page.items);
          cursor = page.cursor;
        } while (cursor !== undefined);
        await context.output.list(items, COLUMNS, `no devices in project ${project()}`);
      }),
    );
  device
    .command('show')
    .description('one device, with where it is connected')
    .argument('<name>')
    .action((name: string) =>
      context.withClient(async (client) => {
        const found = await client.device.show({ project: project(), name });
        const { toYaml } = await import('../terminal/yaml.ts');
        await context.output.one(found, ({ metadata, spec, status }) =>
          toYaml({ name: metadata.name, labels: metadata.labels, ...spec, ...status }),
        );
      }),
    );
  device
    .command('create')
    .description('make a device and its password, or its certificate: shown this once')
    .argument('<name>')
    .addOption(
      new Option('--auth <how>', 'how it proves who it is; default: password').choices([
        'password',
        'certificate',
      ]),
    )
    .option('--csr <file>', 'a certificate request (PEM) to sign, or - for standard input')
    .option('--attached-to <access-point>', 'the access point that it comes through')
    .option('--label <name=value>', 'may be given again', collect, [])
    .option('--folder <folder>', 'write key and certificates there, as NAME.key, NAME.crt, NAME.ca.crt')
    .action((name: string, { auth, csr, attachedTo, label, folder }: CreateOptions) =>
      context.withClient(async (client) => {
        const body = {
          name,
          labels: pairs(label, '--label'),
          spec: { ...(auth && { auth }), ...(attachedTo !== undefined && { attachedTo }) },
          ...(csr !== undefined && { csr: readTextFile(csr) }),
        };
        await tell(context, await client.device.create({ project: project(), body }), 'created', folder);
      }),
    );
  device
    .command('rotate')
    .description('make its password or certificate anew: what it had counts no more')
    .argument('<name>')
    .option('--csr <file>', 'a certificate request (PEM) to sign, or - for standard input')
    .option('--folder <folder>', 'write key and certificates there')
    .action((name: string, { csr, folder }: { csr?: string; folder?: string }) =>
      context.withClient(async (client) => {
        const body = csr === undefined ? {} : { csr: readTextFile(csr) };
        const made = await client.device.rotate({ project: project(), name, body });
        await tell(context, made, 'has new credentials', folder);
      }),
    );
  device
    .command('delete')
    .description('delete devices: their connections end')
    .argument('<name...>')
    .action((names: string[]) =>
      context.withClient(async (client) => {
        for (const name of names) await client.device.delete({ project: project(), name });
        await context.output.done(
          names.map((name) => ({ kind: 'Device', name, outcome: 'deleted' })),
          names.map((name) => `device/${name} deleted`).join('\n'),
        );
      }),
    );
  device
    .command('shadow')
    .description('what is wished of a device, what it reported, and what differs')
    .argument('<name>')
    .option('--set <field=value>', 'wish it; null takes it back; may be given again', collect, [])
    .action((name: string, { set }: { set: string[] }) =>
      context.withClient(async (client) => {
        const at = { project: project(), name };
        const shadow =
          set.length > 0
            ? await client.device.desire({ ...at, body: patchOf(set) })
            : await client.device.shadow(at);
        const { toYaml } = await import('../terminal/yaml.ts');
        await context.output.one(shadow, (value) => toYaml(value));
      }),
    );
}
