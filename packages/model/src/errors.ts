/**
 * The closed registry of errors: every failure that Skerry shows has one of these codes.
 * It knows nothing of HTTP servers or terminals; `status` is the number that the contract layer answers with.
 * To add one, follow docs/checklists/add-an-error.md.
 */

/** When a caller may send the same request again. */
export type Retry = 'never' | 'after-change' | 'later';

export interface ErrorDefinition {
  readonly status: number;
  readonly retry: Retry;
  readonly title: string;
  readonly remedy: string;
}

const define = <const T extends Record<string, ErrorDefinition>>(table: T): T => table;

export const ERRORS = define({
  // asked wrongly
  manifest_invalid: {
    status: 422,
    retry: 'after-change',
    title: 'The manifest is not valid',
    remedy: 'Correct the field on the named line and apply the file again; nothing of it was applied.',
  },
  request_invalid: {
    status: 400,
    retry: 'after-change',
    title: 'The request is not valid',
    remedy: 'Correct the named parameter; GET /openapi.json describes every request.',
  },
  payload_too_large: {
    status: 413,
    retry: 'after-change',
    title: 'The request body is too large',
    remedy: 'Send a smaller body.',
  },
  unauthenticated: {
    status: 401,
    retry: 'after-change',
    title: 'The caller is not known',
    remedy: 'Send the token of the data folder (SKERRY_TOKEN), or use the unix socket.',
  },
  forbidden: {
    status: 403,
    retry: 'after-change',
    title: 'The caller may not do this',
    remedy: 'Ask the owner of the node for access.',
  },
  not_found: {
    status: 404,
    retry: 'after-change',
    title: 'There is no such resource',
    remedy: 'Look at the name and the project; `list` shows what exists.',
  },
  already_exists: {
    status: 409,
    retry: 'after-change',
    title: 'A resource of this name exists',
    remedy: 'Choose another name, or change the existing one.',
  },
  conflict: {
    status: 409,
    retry: 'later',
    title: 'Somebody else changed the resource in the meantime',
    remedy: 'Read it again and repeat the change.',
  },
  precondition_failed: {
    status: 412,
    retry: 'after-change',
    title: 'The resource is not at the revision that the request names',
    remedy: 'Read it again and send its new ETag in If-Match.',
  },
  in_use: {
    status: 409,
    retry: 'after-change',
    title: 'The resource is in use',
    remedy: 'Delete what uses it first; the message names it.',
  },
  phase_forbids: {
    status: 409,
    retry: 'later',
    title: 'The resource is not in a phase that allows this',
    remedy: 'Wait until it has reached an allowed phase; the message names them.',
  },
  quota_exceeded: {
    status: 409,
    retry: 'after-change',
    title: 'The request does not fit',
    remedy: 'Ask for less, or free some of what is taken; the message has the numbers.',
  },
  port_taken: {
    status: 409,
    retry: 'after-change',
    title: 'The port to publish is taken',
    remedy: 'Publish another port, or stop what listens on it.',
  },
  address_exhausted: {
    status: 409,
    retry: 'after-change',
    title: 'The subnet has no free address',
    remedy: 'Delete instances that are not needed.',
  },
  unsupported: {
    status: 422,
    retry: 'after-change',
    title: 'This is not supported here',
    remedy: '`skerry doctor` tells what this node can do and what it lacks.',
  },
  // images and functions
  image_not_found: {
    status: 422,
    retry: 'after-change',
    title: 'There is no such image',
    remedy: 'Import it with `skerry image import`, or pull it with `skerry image pull`.',
  },
  image_invalid: {
    status: 422,
    retry: 'after-change',
    title: 'The image can not be used',
    remedy: 'Build or export the image again; the message says what is wrong with it.',
  },
  image_digest_mismatch: {
    status: 422,
    retry: 'later',
    title: 'The content does not have the promised digest',
    remedy: 'Fetch it again; if it fails twice, the source is damaged or not to be trusted.',
  },
  image_wrong_kind: {
    status: 422,
    retry: 'after-change',
    title: 'The image is of another kind than the runtime needs',
    remedy: 'Choose the runtime that fits; `skerry image show` tells what was recognised.',
  },
  registry_unavailable: {
    status: 502,
    retry: 'later',
    title: 'The registry does not answer as it should',
    remedy: 'Look at the network and the registry; the pull resumes where it stopped.',
  },
  function_invalid: {
    status: 422,
    retry: 'after-change',
    title: 'The function can not be lowered for its engine',
    remedy: 'Change the construct on the named line.',
  },
  // the host
  host_missing: {
    status: 503,
    retry: 'after-change',
    title: 'The machine lacks something that is needed',
    remedy: '`skerry doctor` names the package to install or the right to give.',
  },
  host_command_failed: {
    status: 500,
    retry: 'later',
    title: 'A program of the host failed',
    remedy: 'Read its words in the message; `skerry doctor` checks the machine.',
  },
  host_timeout: {
    status: 504,
    retry: 'later',
    title: 'A program of the host did not end in time',
    remedy: 'The machine may be overloaded; try again.',
  },
  disk_full: {
    status: 507,
    retry: 'after-change',
    title: 'The disk is full',
    remedy: 'Free space on the file system of the data folder.',
  },
  data_folder_invalid: {
    status: 500,
    retry: 'after-change',
    title: 'The data folder can not be used',
    remedy: 'Choose another folder with --data; the message says what is wrong with this one.',
  },
  already_running: {
    status: 409,
    retry: 'after-change',
    title: 'Skerry runs already on this data folder',
    remedy: 'Use it as it is, or stop it with `skerry down`.',
  },
  not_running: {
    status: 503,
    retry: 'after-change',
    title: 'Skerry does not run on this data folder',
    remedy: 'Start it with `skerry up`.',
  },
  not_in_time: {
    status: 504,
    retry: 'later',
    title: 'It was not done in the time that was given',
    remedy:
      'It goes on meanwhile: `skerry workload show NAME` tells what it waits for; `--timeout` gives it longer.',
  },
  unavailable: {
    status: 503,
    retry: 'later',
    title: 'The part that is needed does not answer',
    remedy: 'Try again in a moment; `skerry status` shows which part it is.',
  },
  // guests
  guest_start_failed: {
    status: 500,
    retry: 'later',
    title: 'The guest did not start',
    remedy: 'Read its log: `skerry workload logs NAME`.',
  },
  guest_not_running: {
    status: 409,
    retry: 'later',
    title: 'The guest is not running',
    remedy: '`skerry workload show NAME` has the reason.',
  },
  guest_unresponsive: {
    status: 504,
    retry: 'later',
    title: 'The guest does not answer',
    remedy: 'Read its log, or restart it: `skerry workload restart NAME`.',
  },
  engine_unavailable: {
    status: 503,
    retry: 'later',
    title: 'The engine of this runtime does not answer',
    remedy: 'The agent starts it again by itself; `skerry doctor` shows its state.',
  },
  exec_failed: {
    status: 422,
    retry: 'after-change',
    title: 'The command could not be run in the guest',
    remedy: 'Look at the path of the command; the image may not have it.',
  },
  // the store
  store_compacted: {
    status: 410,
    retry: 'after-change',
    title: 'The change log no longer reaches that far back',
    remedy: 'List again and watch from the revision of the list.',
  },
  watch_too_slow: {
    status: 429,
    retry: 'later',
    title: 'The listener reads too slowly',
    remedy: 'Resume from the last revision that was read.',
  },
  store_full: {
    status: 507,
    retry: 'after-change',
    title: 'The store can not be written: no space',
    remedy: 'Free space on the file system of the data folder.',
  },
  store_corrupt: {
    status: 500,
    retry: 'never',
    title: 'The store is damaged',
    remedy: 'Put back a copy of the data folder.',
  },
  store_locked: {
    status: 503,
    retry: 'later',
    title: 'The store is held by another process',
    remedy: 'Stop the other process, or choose another data folder.',
  },
  cancelled: {
    status: 409,
    retry: 'after-change',
    title: 'The operation was cancelled',
    remedy: 'Ask again if it is still wanted.',
  },
  internal: {
    status: 500,
    retry: 'later',
    title: 'Skerry made a mistake',
    remedy: 'The log of the program has the details; please report it.',
  },
});

export type ErrorCode = keyof typeof ERRORS;

export interface SkerryErrorOptions {
  readonly cause?: unknown;
  /** What a program may want to read: field, line, numbers. Public: never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** An error with a code of the registry. `message` is public text: what failed and why, in one or two sentences. */
export class SkerryError extends Error {
  override readonly name = 'SkerryError';
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: SkerryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  get definition(): ErrorDefinition {
    return ERRORS[this.code];
  }
}

/** Any thrown value as a SkerryError: itself, or `internal` with the value as its cause. */
export function asSkerryError(thrown: unknown): SkerryError {
  if (thrown instanceof SkerryError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SkerryError('internal', message, { cause: thrown });
}
