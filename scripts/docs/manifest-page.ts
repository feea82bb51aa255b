/** docs/reference/manifest.md: every field of every kind, its type from the schema, its meaning from manifest-fields.ts. */
import { KINDS } from '../../packages/contract/src/manifest/kinds.ts';
import { FIELDS } from './manifest-fields.ts';
import { code, page, table } from './markdown.ts';

interface Shape {
  readonly type?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly Shape[];
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly items?: Shape;
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly patternProperties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly description?: string;
}

export interface Field {
  readonly path: string;
  readonly type: string;
  readonly required: boolean;
}

function range(shape: Shape): string {
  const { minimum, maximum, exclusiveMinimum } = shape;
  const low = exclusiveMinimum !== undefined ? `over ${exclusiveMinimum}` : minimum;
  if (low === undefined && maximum === undefined) return '';
  return maximum === undefined ? `, ${low} or more` : `, ${low} to ${maximum}`;
}

function typeOf(shape: Shape): string {
  if (shape.const !== undefined) return code(String(shape.const));
  if (shape.enum) return shape.enum.map((value) => code(String(value))).join(', ');
  if (shape.description?.startsWith('A size')) return 'size (`64MiB`)';
  if (shape.description?.startsWith('A duration')) return 'duration (`5s`)';
  if (shape.description?.startsWith('A bandwidth')) return 'bandwidth (`100Mbit`)';
  if (shape.description?.startsWith('A DNS label')) return 'name';
  if (shape.type === 'array') {
    const most = shape.maxItems === undefined ? '' : `, at most ${shape.maxItems}`;
    return `list of ${shape.items?.type === 'object' ? 'objects' : typeOf(shape.items ?? {})}${most}`;
  }
  if (shape.anyOf) return shape.anyOf.map(typeOf).join(' or ');
  if (shape.patternProperties) return 'map of texts';
  if (shape.type === 'string') return 'text';
  return `${shape.type ?? 'value'}${range(shape)}`;
}

/** Every field below `shape`, in the order of the schema; items of a list are `path[]`. */
export function fieldsOf(shape: Shape, prefix = ''): Field[] {
  return Object.entries(shape.properties ?? {}).flatMap(([name, child]) => {
    const path = prefix === '' ? name : `${prefix}.${name}`;
    const field = { path, type: typeOf(child), required: shape.required?.includes(name) ?? false };
    const branch = child.anyOf?.find(({ properties }) => properties);
    const inner = child.type === 'array' ? child.items : (branch ?? child);
    const below = inner?.properties ? fieldsOf(inner, child.type === 'array' ? `${path}[]` : path) : [];
    return [field, ...below];
  });
}

/** The fields of each kind but the ones that all share. */
export const fieldsByKind = (): Map<string, Field[]> =>
  new Map(
    Object.entries(KINDS).map(([kind, { schema }]) => [
      kind,
      fieldsOf(schema as Shape).filter(({ path }) => path.startsWith('spec.')),
    ]),
  );

const rows = (fields: readonly Field[], words: Readonly<Record<string, string>>) =>
  fields.map(({ path, type, required }) => [
    code(path),
    type,
    required ? 'required' : '',
    words[path] ?? 'NOT DESCRIBED',
  ]);

export function manifestPage(): string {
  const shared = fieldsOf(KINDS.Workload.schema as Shape)
    .filter(({ path }) => !path.startsWith('spec'))
    .map((field) =>
      field.path === 'kind' ? { ...field, type: Object.keys(KINDS).map(code).join(', ') } : field,
    );
  const titles = ['field', 'type', '', 'meaning'];
  return page(
    'The manifest',
    'the schemas in packages/model/src/schema and the words in scripts/docs/manifest-fields.ts',
    'YAML or JSON; several documents in a file, separated by `---`. All documents of a file are accepted together or none. A field that is not listed here is an error that names its line. Quantities carry their unit: sizes `B kB MB GB TB KiB MiB GiB TiB`, durations `us ms s m h d`, bandwidths `bit kbit Mbit Gbit Tbit`.',
    '## All kinds',
    table(titles, rows(shared, FIELDS.shared!)),
    ...[...fieldsByKind()].flatMap(([kind, fields]) => [
      `## ${kind}`,
      FIELDS.kinds![kind] ?? 'NOT DESCRIBED',
      table(titles, rows(fields, FIELDS[kind] ?? {})),
    ]),
  );
}
