/** The kinds of guest. `sim` is for scale tests and development and never the default. */
export const RUNTIME_KINDS = ['container', 'unikernel', 'vm', 'system', 'sim'] as const;
export type RuntimeKind = (typeof RUNTIME_KINDS)[number];
