/**
 * Performs the steps of a plan on this node, each with its undo. It makes no choices: what is to be done, the plan and
 * the runtime's own `plan` have said.
 */
import type { ImageContent, ImageFacts } from '@skerry/images';
import { asSkerryError, type ErrorCode, type Id, type Millis, SkerryError } from '@skerry/model';
import type { Attachment, NodeNetwork } from '@skerry/network';
import { applyPlan, type UndoStack } from '@skerry/reconcile';
import type { GuestState, GuestStep, Runtime } from '@skerry/runtimes';
import type { InstanceRecord } from '../ledger/record.ts';
import type { NodeStep } from './plan.ts';
import { guestSpecOf } from './resolve.ts';

export interface NodeParts {
  readonly network: NodeNetwork;
  readonly images: ImageContent;
  readonly bringImage?: (digest: string, signal: AbortSignal) => Promise<ImageFacts>;
  /** Makes sure of the named volume of the project; returns its folder, or its raw image. Errors: not_found, disk_full, in_use. */
  readonly volumePath: (project: string, name: string, form: 'folder' | 'disk') => Promise<string>;
}

export interface ApplyTask {
  readonly uid: Id<'instance'>;
  readonly project: string;
  readonly runtime: Runtime;
  readonly have: GuestState;
  readonly graceMs: Millis;
  readonly signal: AbortSignal;
  /** Aborted when the agent ends: what was begun is left for its next start. */
  readonly abandon: AbortSignal;
  /** Told before the host is changed, so that the ledger knows of what may be there. */
  readonly attached: (request: InstanceRecord['attach']) => void;
  readonly imageSeen: (facts: ImageFacts) => void;
}

/** What is wrong with the image itself, or with this node's disk; all else is the way to it. */
const OF_THE_IMAGE: ReadonlySet<ErrorCode> = new Set([
  'image_not_found',
  'image_invalid',
  'image_digest_mismatch',
  'disk_full',
  'cancelled',
]);

/** An image that could not be brought is no fault of the guest. Throws always. */
function notBrought(thrown: unknown): never {
  const error = asSkerryError(thrown);
  if (OF_THE_IMAGE.has(error.code)) throw error;
  throw new SkerryError('unavailable', `its image could not be brought here yet: ${error.message}`, {
    cause: error,
  });
}

/** Returns the guest's state after the last step. Errors: those of the ports. */
export async function applySteps(
  steps: readonly NodeStep[],
  parts: NodeParts,
  task: ApplyTask,
): Promise<GuestState> {
  const { uid, runtime, signal } = task;
  let state = task.have;
  let attachment: Attachment | undefined;
  /** Of the attachment: the guest is made meanwhile and started after it. */
  let ready: Promise<void> = Promise.resolve();
  const volumePaths = new Map<string, string>();

  const guest = async (step: GuestStep, undo: UndoStack) => {
    // A disk that lasts was there before this start, and what failed did not fail for it.
    const lasts = step.do === 'create' && step.spec.root !== undefined && state.state !== 'absent';
    if (step.do === 'create' && !lasts) {
      undo.push('remove the guest', async () => {
        await runtime.apply({ do: 'remove', uid }, new AbortController().signal);
      });
    }
    if (step.do === 'start') {
      await ready;
      undo.forget(); // a guest that began to run keeps its log: the reason is in there
    }
    state = await runtime.apply(step, signal);
  };

  await applyPlan(
    steps,
    async (step, undo) => {
      switch (step.do) {
        case 'image':
          task.imageSeen(
            await (parts.bringImage
              ? parts.bringImage(step.digest, signal).catch(notBrought)
              : parts.images.facts(step.digest)),
          );
          return;
        case 'volume':
          volumePaths.set(
            step.name,
            await parts.volumePath(task.project, step.name, runtime.kind === 'vm' ? 'disk' : 'folder'),
          );
          return;
        case 'attach':
          task.attached(step.request);
          undo.push('detach the network', async () => {
            await parts.network.detach(uid, new AbortController().signal);
            task.attached(undefined);
          });
          if (parts.network.begin && state.state === 'absent') {
            ({ attachment, ready } = await parts.network.begin(step.request, signal));
          } else attachment = await parts.network.attach(step.request, signal);
          return;
        case 'detach':
          await parts.network.detach(uid, signal);
          task.attached(undefined);
          return;
        case 'guest-gone':
          for (const one of runtime.plan(undefined, state, uid, task.graceMs)) await guest(one, undo);
          return;
        case 'guest': {
          const spec = guestSpecOf(step.want, { attachment, volumePaths });
          for (const one of runtime.plan(spec, state, uid, task.graceMs)) {
            if (signal.aborted) throw new SkerryError('cancelled', `cancelled before "${one.do}"`);
            await guest(one, undo);
          }
          return;
        }
      }
    },
    { signal, abandon: task.abandon },
  );
  return state;
}
