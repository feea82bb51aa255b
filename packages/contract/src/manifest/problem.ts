/** One thing that is wrong in a manifest; `details.errors` of manifest_invalid is a list of these. */
export interface ManifestProblem {
  /** From 1; absent where the manifest came without text (a PUT). */
  readonly line?: number;
  /** Path of the field: `spec.ports[0].port`. */
  readonly field: string;
  readonly message: string;
}
