/**
 * A manifest's text, YAML 1.2 or JSON, one or several documents, to checked manifests; every error names its line.
 * All errors are found, not only the first. Nothing is applied here.
 */
import { SkerryError } from '@skerry/model';
import {
  type Document,
  isCollection,
  isMap,
  isScalar,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
} from 'yaml';
import { checkManifest, manifestInvalid } from './check.ts';
import { fieldOf, type Path } from './explain.ts';
import { type AnyManifest, KINDS, type Kinds } from './kinds.ts';
import type { ManifestProblem } from './problem.ts';

export const LONGEST_MANIFEST_BYTES = 4 * 1024 * 1024;
const MOST_DOCUMENTS = 1000;
/** Aliases are copies: a few lines of nested ones would fill the memory (the "billion laughs"). */
const MOST_ALIASES = 100;

export interface ParsedManifest {
  readonly manifest: AnyManifest;
  /** Of the document's first line in the text, from 1. */
  readonly line: number;
  /** Of a field such as `spec.ports[0].name`, or of the nearest thing around it that is written. */
  readonly lineOf: (field: string) => number;
  /** `metadata.project`, else the default given; absent where the kind belongs to none. */
  readonly project?: string;
}

export interface ParseOptions {
  /** Of documents that name none; `default` where absent. */
  readonly project?: string;
  /** Kinds that may stand in it; default: those that the API knows. */
  readonly kinds?: Kinds;
}

/** Errors: manifest_invalid with details {errors: ManifestProblem[]}; payload_too_large. */
export function parseManifests(text: string, options: ParseOptions = {}): ParsedManifest[] {
  if (Buffer.byteLength(text) > LONGEST_MANIFEST_BYTES) {
    throw new SkerryError('payload_too_large', `the manifest is larger than ${LONGEST_MANIFEST_BYTES} bytes`);
  }
  return parseJsonDocument(text, options) ?? parseYaml(text, options);
}

const placed = (
  manifest: AnyManifest,
  line: number,
  options: ParseOptions,
  lineOf: ParsedManifest['lineOf'],
): ParsedManifest =>
  (options.kinds ?? KINDS)[manifest.kind]!.inProject
    ? { manifest, line, lineOf, project: manifest.metadata.project ?? options.project ?? 'default' }
    : { manifest, line, lineOf };

/** The inverse of `fieldOf`. */
const pathOf = (field: string): Path =>
  [...field.matchAll(/\[(\d+)\]|[^.[\]]+/g)].map(([word, index]) =>
    index === undefined ? word : Number(index),
  );

/** One JSON document without a fault, much faster than the YAML reader. Undefined: let that one tell what is wrong. */
function parseJsonDocument(text: string, options: ParseOptions): ParsedManifest[] | undefined {
  if (!/^\s*\{/.test(text)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return checkManifest(value, options.kinds).length > 0
    ? undefined
    : [placed(value as AnyManifest, 1, options, () => 1)];
}

function parseYaml(text: string, options: ParseOptions): ParsedManifest[] {
  const lines = new LineCounter();
  const errors: ManifestProblem[] = [];
  const found: ParsedManifest[] = [];
  const firstLine = new Map<string, number>();
  const documents = read(text, lines);
  for (const document of documents) {
    if (isEmpty(document)) continue; // only comments, or a last `---`
    const problems = document.errors.map((error) => ({
      line: error.linePos?.[0].line ?? 1,
      field: '',
      message: error.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, ''),
    }));
    const value = problems.length > 0 ? undefined : toValue(document, problems, lines);
    if (problems.length > 0) {
      errors.push(...problems);
      continue;
    }
    for (const { path, atKey, message } of checkManifest(value, options.kinds)) {
      problems.push({ line: lineOf(document, path, atKey, lines), field: fieldOf(path), message });
    }
    errors.push(...problems);
    if (problems.length > 0) continue;
    const line = lineOf(document, [], false, lines);
    const parsed = placed(value as AnyManifest, line, options, (field) =>
      lineOf(document, pathOf(field), false, lines),
    );
    const { kind, metadata } = parsed.manifest;
    const key = `${kind} ${parsed.project ?? ''} ${metadata.name}`;
    const earlier = firstLine.get(key);
    if (earlier !== undefined) {
      errors.push({
        line: lineOf(document, ['metadata', 'name'], false, lines),
        field: 'metadata.name',
        message: `the ${kind} "${metadata.name}" is described twice: the first is on line ${earlier}`,
      });
    }
    firstLine.set(key, line);
    found.push(parsed);
  }
  if (errors.length > 0) throw manifestInvalid(errors.sort((a, b) => (a.line ?? 0) - (b.line ?? 0)));
  if (found.length === 0)
    throw manifestInvalid([{ line: 1, field: '', message: 'there is no document in the manifest' }]);
  return found;
}

function read(text: string, lineCounter: LineCounter): Document.Parsed[] {
  let documents: ReturnType<typeof parseAllDocuments>;
  try {
    documents = parseAllDocuments(text, {
      lineCounter,
      uniqueKeys: true,
      prettyErrors: true,
      version: '1.2',
    });
  } catch (error) {
    // Nesting deeper than the stack; nothing that a person writes.
    throw manifestInvalid([{ line: 1, field: '', message: `can not be read: ${(error as Error).message}` }]);
  }
  if (documents.length > MOST_DOCUMENTS) {
    throw manifestInvalid([
      { line: 1, field: '', message: `has ${documents.length} documents: at most ${MOST_DOCUMENTS}` },
    ]);
  }
  return 'empty' in documents ? [] : (documents as Document.Parsed[]);
}

const isEmpty = ({ contents, errors }: Document.Parsed) =>
  errors.length === 0 && (contents === null || (isScalar(contents) && contents.value === null));

function toValue(document: Document.Parsed, problems: ManifestProblem[], lines: LineCounter): unknown {
  try {
    return document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (error) {
    problems.push({ line: lineOf(document, [], false, lines), field: '', message: (error as Error).message });
    return undefined;
  }
}

/** The line of the field at `path`, or of the nearest thing around it that is written. */
function lineOf(document: Document.Parsed, path: Path, atKey: boolean, lines: LineCounter): number {
  let at: unknown = document.contents;
  let offset = (at as Node | null)?.range?.[0] ?? 0;
  for (const [index, part] of path.entries()) {
    if (!isCollection(at)) break;
    if (isMap(at)) {
      const pair = at.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part)) as
        | Pair<Node, Node | null>
        | undefined;
      if (!pair) break;
      const own = atKey && index === path.length - 1 ? pair.key : (pair.value ?? pair.key);
      offset = isCollection(own) ? (pair.key.range?.[0] ?? offset) : (own.range?.[0] ?? offset);
      at = pair.value;
    } else {
      at = at.get(part, true);
      offset = (at as Node | undefined)?.range?.[0] ?? offset;
    }
  }
  return lines.linePos(offset).line;
}
