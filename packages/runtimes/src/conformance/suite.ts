/** What the parts of the conformance suite share: the bed, the runtime of the moment, and ways to bring a guest somewhere. */
import type { GuestExit, Id, Millis } from '@skerry/model';
import type { GuestSpec, GuestState, Runtime } from '../port.ts';

export type Uid = Id<'instance'>;
export type Running = Extract<GuestState, { state: 'running' }>;

/** `steady` runs until it is stopped, `stubborn` has to be forced, the others end by themselves soon after their start. */
export type GuestManner = 'steady' | 'stubborn' | 'completes' | 'fails';

export interface RuntimeBed {
  /** Another runtime object over the same data folder, as an agent makes one that starts anew. */
  open(): Runtime;
  /** A spec with a uid of its own, its network attached. */
  spec(manner: GuestManner): Promise<GuestSpec>;
  /** Ends a running guest from outside, by SIGKILL. */
  kill(uid: Uid, state: Running): Promise<void>;
  /** What the host still has of a guest that was removed: `[]` is right. Takes the network away first. */
  leftovers(uid: Uid): Promise<string[]>;
  /** Called last, after the runtime was destroyed. */
  close(): Promise<void>;
  /** Text in the log of each guest that fails, printed before its end; absent where it prints nothing. */
  readonly lastWords?: string;
  /** Its code; absent for a kind that has none. */
  readonly failCode?: number;
  /** How its end is told; `error` with its code where absent. */
  readonly failure?: Pick<GuestExit, 'reason'>;
  /** Digest of an image of a kind that this runtime can't start; absent where it needs no image. */
  readonly otherKind?: string;
}

export interface Suite {
  readonly bed: RuntimeBed;
  readonly runtime: Runtime;
  /** A guest that is taken away at the end, whatever became of it. */
  make(manner: GuestManner): Promise<GuestSpec>;
  run(manner: GuestManner): Promise<{ spec: GuestSpec; uid: Uid; state: GuestState }>;
  runSteadily(manner?: 'steady' | 'stubborn'): Promise<{ spec: GuestSpec; uid: Uid; state: Running }>;
  /** Removes it and looks for what is left. */
  remove(uid: Uid): Promise<void>;
}

export const noSignal = () => new AbortController().signal;
export const GRACE = 5000 as Millis;
