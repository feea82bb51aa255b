/** A manifest that came as the body of a PUT or PATCH, where path and body must name the same thing. */
import { type AnyManifest, manifestInvalid, requireManifest } from '@skerry/contract/schema';
import { mergePatch } from './merge-patch.ts';

const OWNED_TOP = ['status', 'control'];
const OWNED_METADATA = ['uid', 'generation', 'revision', 'createdAt', 'updatedAt', 'deletedAt'];

/** Without what only the controller writes: so what a GET gave can be edited and put back. */
function manifestPart(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const { metadata } = value as { metadata?: unknown };
  const top = Object.entries(value).filter(([name]) => !OWNED_TOP.includes(name));
  const result = Object.fromEntries(top) as Record<string, unknown>;
  if (typeof metadata === 'object' && metadata !== null) {
    result.metadata = Object.fromEntries(
      Object.entries(metadata).filter(([name]) => !OWNED_METADATA.includes(name)),
    );
  }
  return result;
}

interface Named {
  readonly kind: AnyManifest['kind'];
  readonly name: string;
  readonly project?: string;
}

/** Errors: manifest_invalid. */
export function manifestOf(body: unknown, path: Named): AnyManifest {
  const manifest = requireManifest(manifestPart(body));
  const refuse = (field: string, message: string) => manifestInvalid([{ field, message }]);
  if (manifest.kind !== path.kind)
    throw refuse('kind', `"${manifest.kind}" was sent to where a ${path.kind} belongs`);
  if (manifest.metadata.name !== path.name) {
    throw refuse('metadata.name', `"${manifest.metadata.name}" is not the name in the path, "${path.name}"`);
  }
  const { project } = manifest.metadata;
  if (project !== undefined && project !== path.project) {
    throw refuse('metadata.project', `"${project}" is not the project in the path, "${path.project}"`);
  }
  return manifest;
}

/** The manifest that a stored resource becomes by a patch. Errors: manifest_invalid. */
export const patchedManifest = (stored: object, patch: unknown, path: Named): AnyManifest =>
  manifestOf(mergePatch(manifestPart(stored), patch), path);
