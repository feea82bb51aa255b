/** Names of what exists, by group of commands: for completion, and for the one that was meant where a name is wrong. */
import { type Client, suggestion } from '@skerry/contract';
import { SkerryError } from '@skerry/model';

/** `AccessPoint` as its group of commands is called: `access-point`. */
export const kindWord = (kind: string): string => kind.replace(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase();

interface Named {
  readonly metadata: { readonly name: string };
}
const names = async (list: Promise<{ items: readonly Named[] }>) =>
  (await list).items.map(({ metadata }) => metadata.name);

const LISTS: Readonly<Record<string, (client: Client, project: string) => Promise<string[]>>> = {
  workload: (client, project) => names(client.workload.list({ project })),
  function: (client, project) => names(client.function.list({ project })),
  volume: (client, project) => names(client.volume.list({ project })),
  image: async (client, project) =>
    (await client.image.list({ project })).items.map(({ spec }) => spec.reference),
  device: (client, project) => names(client.device.list({ project })),
  stream: (client, project) => names(client.stream.list({ project })),
  node: (client) => names(client.node.list()),
  project: (client) => names(client.project.list()),
  operation: (client) => names(client.operation.list()),
  site: (client) => names(client.site.list()),
  'access-point': (client) => names(client['access-point'].list()),
  link: (client) => names(client.link.list()),
  client: (client) => names(client.client.list()),
};

/** Nothing for a group without resources. Errors: those of the request. */
export const namesOf = async (client: Client, group: string, project: string): Promise<string[]> =>
  Object.hasOwn(LISTS, group) ? LISTS[group]!(client, project) : [];

/** `there is no workload "helo" in the project default` becomes `… default (did you mean "hello"?)`; any other error stays. */
export async function withSuggestion(error: unknown, client: Client, project: string): Promise<unknown> {
  if (!(error instanceof SkerryError)) return error;
  const hint = (message: string) => hintFor(message, client, project);
  const { errors } = error.details as { errors?: readonly { readonly message?: string }[] };
  const listed =
    Array.isArray(errors) && errors.length <= MOST_HINTS
      ? await Promise.all(errors.map(async (one) => ({ ...one, message: await hint(one.message ?? '') })))
      : errors;
  return new SkerryError(error.code, await hint(error.message), {
    cause: error.cause,
    details: { ...error.details, ...(listed && { errors: listed }) },
  });
}

/** Of a manifest with more wrong names than that, each is told as it is. */
const MOST_HINTS = 5;

async function hintFor(message: string, client: Client, project: string): Promise<string> {
  const [there, what, name] = /there is no ([a-z]+(?: point)?) "([^"]+)"/.exec(message) ?? [];
  if (there === undefined || what === undefined || name === undefined) return message;
  const known = await namesOf(client, what.replace(' ', '-'), project).catch(() => []);
  return message.replace(there, `${there}${suggestion(name, known)}`);
}
