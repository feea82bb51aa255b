/** docs/reference/phases.md: the phases of an instance and the reasons of its ends. */
import { EXIT_REASONS, type ExitReason, PHASE_NAMES, PHASES } from '@skerry/model';
import { code, page, table } from './markdown.ts';

/** As in packages/model/src/guest.ts. */
const REASONS: Readonly<Record<ExitReason, string>> = {
  completed: 'it ended by itself with code 0',
  error: 'it ended by itself with another code',
  oom: 'it was over its memory limit and the kernel of the node ended it',
  panic: "the guest's own kernel gave up",
  signal: 'it was ended by a signal that Skerry did not send',
  stopped: 'it was asked to stop, and did',
  killed: 'it was asked to stop, did not in time, and was forced',
  unhealthy: 'its health check failed too often in a row',
  'start-failed': 'it never ran',
  vanished: 'it is gone and nobody saw it end: a power cut, or an engine that was lost',
  replaced: 'its spec changed',
  requested: 'a person asked for a restart',
};

const yes = (value: boolean): string => (value ? 'yes' : 'no');

export const phasesPage = (): string =>
  page(
    'Phases',
    'packages/model/src/phases.ts',
    'The phase of an instance. "Guest": a guest may exist on the node. "Holds": it takes up memory, processors and disk of the node.',
    table(
      ['phase', 'meaning', 'guest', 'holds', 'what may follow'],
      PHASE_NAMES.map((name) => {
        const { text, guest, holdsResources, next } = PHASES[name];
        return [code(name), text, yes(guest), yes(holdsResources), next.map(code).join(' ')];
      }),
    ),
    '## Why a guest ended',
    'Each instance keeps its last ten ends (`status.exits`, newest first; `skerry workload show NAME`).',
    table(
      ['reason', 'meaning'],
      EXIT_REASONS.map((reason) => [code(reason), REASONS[reason]]),
    ),
  );
