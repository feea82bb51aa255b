/**
 * Typed calls to containerd over its unix socket. It keeps one warm channel, turns gRPC's failures into `EngineFailure`
 * and knows nothing of guests.
 */
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { SkerryError } from '@skerry/model';
import { type Any, METHODS, type Mount, type Timestamp } from './api.ts';

export const SNAPSHOTTER = 'overlayfs';

export interface Container {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image?: string;
  readonly runtime: { readonly name: string; readonly options?: Any };
  readonly spec: Any;
  readonly snapshotter?: string;
  readonly snapshotKey?: string;
}
/** Status numbers of containerd's task.proto. */
export const TASK = { created: 1, running: 2, stopped: 3, paused: 4, pausing: 5 } as const;
export interface TaskProcess {
  readonly pid: number;
  readonly status: number;
  readonly exitStatus: number;
  readonly exitedAt: Timestamp | null;
}
export interface SnapshotInfo {
  readonly name: string;
  readonly parent: string;
  /** 1 view, 2 active, 3 committed. */
  readonly kind: number;
  readonly labels: Readonly<Record<string, string>>;
}
interface Snapshot {
  readonly key: string;
}
interface Process {
  readonly containerId: string;
  readonly execId?: string;
}
type Labels = Readonly<Record<string, string>>;
type Nothing = Record<string, never>;

/** Request and response of each call; the snapshotter is filled in. */
export interface Calls {
  'Version.Version': [Nothing, { version: string }];
  'Namespaces.Delete': [{ name: string }, Nothing];
  'Containers.Get': [{ id: string }, { container: Container }];
  'Containers.List': [{ filters: string[] }, { containers: Container[] }];
  'Containers.Create': [{ container: Container }, { container: Container }];
  'Containers.Delete': [{ id: string }, Nothing];
  'Tasks.Create': [
    { containerId: string; rootfs: readonly Mount[]; stdout: string; stderr: string; options: Any },
    { pid: number },
  ];
  'Tasks.Start': [Process, { pid: number }];
  'Tasks.Delete': [{ containerId: string }, { exitStatus: number; exitedAt: Timestamp | null }];
  'Tasks.DeleteProcess': [Process, { exitStatus: number }];
  'Tasks.Get': [{ containerId: string }, { process: TaskProcess }];
  'Tasks.Kill': [Process & { signal: number; all?: boolean }, Nothing];
  'Tasks.Exec': [
    Process & { stdin: string; stdout: string; stderr: string; terminal: boolean; spec: Any },
    Nothing,
  ];
  'Tasks.ResizePty': [Process & { width: number; height: number }, Nothing];
  'Tasks.CloseIO': [Process & { stdin: true }, Nothing];
  'Tasks.Wait': [Process, { exitStatus: number; exitedAt: Timestamp | null }];
  'Snapshots.Prepare': [Snapshot & { parent: string; labels: Labels }, { mounts: Mount[] }];
  'Snapshots.View': [Snapshot & { parent: string; labels: Labels }, { mounts: Mount[] }];
  'Snapshots.Mounts': [Snapshot, { mounts: Mount[] }];
  'Snapshots.Commit': [Snapshot & { name: string; labels: Labels }, Nothing];
  'Snapshots.Remove': [Snapshot, Nothing];
  'Snapshots.Stat': [Snapshot, { info: SnapshotInfo }];
  'Content.Delete': [{ digest: string }, Nothing];
  'Content.Abort': [{ ref: string }, Nothing];
  'Events.Publish': [{ topic: string; event: Any }, Nothing];
  'Diff.Apply': [
    { diff: { mediaType: string; digest: string; size: number }; mounts: readonly Mount[] },
    { applied: { digest: string } },
  ];
}

/** What containerd answered, in its own words. Stays inside this folder: callers turn it into a SkerryError. */
export class EngineFailure extends Error {
  override readonly name = 'EngineFailure';
  readonly status: number;
  readonly method: string;
  constructor(method: string, error: ServiceError) {
    super(error.details || error.message, { cause: error });
    this.status = error.code;
    this.method = method;
  }
}

const failedWith = (error: unknown, ...codes: number[]) =>
  error instanceof EngineFailure && codes.includes(error.status);
export const isNotFound = (error: unknown) => failedWith(error, status.NOT_FOUND);
/** The task is not there, or its shim went while it was asked. */
export const isTaskGone = (error: unknown) =>
  isNotFound(error) || (error instanceof EngineFailure && /ttrpc: closed/.test(error.message));
export const alreadyExists = (error: unknown) => failedWith(error, status.ALREADY_EXISTS);
/** The folder of a task that is in the way of a new one. */
export const folderInTheWay = (error: unknown): string | undefined =>
  error instanceof EngineFailure ? /mkdir (\S+): file exists/.exec(error.message)?.[1] : undefined;
/** Its folder was taken away from under it: by the end of an attempt that was broken off and had the same folder. */
const FOLDER_TAKEN =
  /getwd: no such file or directory|v2\.task\/[^/\s]+\/[^/\s]+(\/(config\.json|address|log|work|runtime|options\.json|rootfs))?: no such file or directory/;
const KNOWN_TO_RUNC = /container with given ID already exists/;
/** Its shim of before is going, and its socket with it: to listen there anew is refused until it has gone. */
const SHIM_IS_GOING = /failed to start shim: .*dial unix .*connect: connection refused/s;
/** Of a task: it is there, or on its way out: its folder goes last, and runc's word of it. */
export const isStillThere = (error: unknown) =>
  alreadyExists(error) ||
  folderInTheWay(error) !== undefined ||
  (error instanceof EngineFailure &&
    [KNOWN_TO_RUNC, FOLDER_TAKEN, SHIM_IS_GOING].some((pattern) => pattern.test(error.message)));
/** The engine answers, and what it asked for us did not in time. */
export const isLate = (error: unknown) => failedWith(error, status.DEADLINE_EXCEEDED);
export const isUnavailable = (error: unknown) =>
  failedWith(error, status.UNAVAILABLE, status.DEADLINE_EXCEEDED);

export class EngineClient {
  readonly #socket: string;
  readonly #metadata = new Metadata();
  #open: Client | undefined;

  constructor(socket: string, namespace: string) {
    this.#socket = socket;
    this.#metadata.set('containerd-namespace', namespace);
  }

  /** Made when it is first needed, and again after `close`. */
  get #client(): Client {
    this.#open ??= new Client(`unix://${this.#socket}`, credentials.createInsecure(), {
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.min_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 500,
      'grpc.max_receive_message_length': 16 * 1024 * 1024,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_retries': 0,
    });
    return this.#open;
  }

  /** Errors: EngineFailure; cancelled. */
  call<K extends keyof Calls>(
    name: K,
    request: Calls[K][0],
    options: { signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Calls[K][1]> {
    const method = METHODS[name]!;
    const message = name.startsWith('Snapshots.') ? { snapshotter: SNAPSHOTTER, ...request } : request;
    return new Promise((resolve, reject) => {
      const { signal } = options;
      if (signal?.aborted) return reject(new SkerryError('cancelled', `${name} was not asked: cancelled`));
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        message,
        this.#metadata,
        { deadline: Date.now() + (options.timeoutMs ?? 60_000) },
        (error, response) => {
          signal?.removeEventListener('abort', cancel);
          if (!error) return resolve(response as Calls[K][1]);
          reject(
            signal?.aborted
              ? new SkerryError('cancelled', `${name} was cancelled`)
              : new EngineFailure(name, error),
          );
        },
      );
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** Messages as they come; ends when the engine ends the stream. Errors: EngineFailure. */
  async *stream<T>(name: string, request: object, signal: AbortSignal): AsyncGenerator<T> {
    const method = METHODS[name]!;
    const message = name.startsWith('Snapshots.') ? { snapshotter: SNAPSHOTTER, ...request } : request;
    const call = this.#client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      message,
      this.#metadata,
    );
    const cancel = () => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      for await (const item of call) yield item as T;
    } catch (error) {
      if (!signal.aborted) throw new EngineFailure(name, error as ServiceError);
    } finally {
      signal.removeEventListener('abort', cancel);
      call.cancel();
    }
  }

  /** Sends a blob to the content store in pieces, checked there against its digest. An existing one is no error. */
  async writeContent(
    blob: { readonly digest: string; readonly sizeBytes: number; readonly labels: Labels },
    source: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const method = METHODS['Content.Write']!;
    const ref = `unpack-${blob.digest}`;
    const call = this.#client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      this.#metadata,
    );
    const cancel = () => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    const answers = call[Symbol.asyncIterator]();
    const ask = async (message: object) => {
      call.write({ ref, total: blob.sizeBytes, expected: blob.digest, ...message });
      const answer = await answers.next();
      if (answer.done) throw new Error('containerd ended the upload');
      return answer.value as { offset: number };
    };
    try {
      let { offset } = await ask({ action: 0 }); // an upload that a crash cut off begins anew at 0
      offset = 0;
      for await (const data of source) {
        ({ offset } = await ask({ action: 1, offset, data }));
      }
      await ask({ action: 2, offset, labels: blob.labels });
    } catch (error) {
      const failure =
        typeof (error as ServiceError).code === 'number'
          ? new EngineFailure('Content.Write', error as ServiceError)
          : error;
      if (!alreadyExists(failure)) throw failure;
    } finally {
      signal.removeEventListener('abort', cancel);
      call.end();
      call.cancel();
    }
  }

  close(): void {
    this.#open?.close();
    this.#open = undefined;
  }
}
