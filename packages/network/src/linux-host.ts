/**
 * Carries the lines of linux-links.ts and the scripts of linux-rules.ts out. What several guests ask for at once goes
 * into one program (group commit), and each learns of its own failures only.
 */
import {
  bridgeBatch,
  coalesce,
  type Identity,
  ipBatch,
  type LineFailure,
  nftApply,
  tcBatch,
} from '@skerry/host';
import { SkerryError } from '@skerry/model';
import { type Removal, removeLines } from './linux-links.ts';

/** A batch that several guests share is no single caller's to cancel: it has a time limit of its own. */
const LIMIT_MS = 30_000;
const limit = (): AbortSignal => AbortSignal.timeout(LIMIT_MS);

export interface HostLines {
  /** Lines of ip(8). Errors: host_command_failed with the first line that failed and was not tolerated. */
  ip(lines: readonly string[], tolerate?: (text: string, line: string) => boolean): Promise<void>;
  /** Interfaces and namespaces that are there. Errors: host_command_failed. */
  remove(what: Removal): Promise<void>;
  ipInside(netns: string, lines: readonly string[]): Promise<void>;
  tc(lines: readonly string[]): Promise<void>;
  /** Lines of bridge(8). */
  fdb(lines: readonly string[], tolerate?: (text: string) => boolean): Promise<void>;
  /** A script of nft(8). Errors: host_command_failed. */
  nft(script: string): Promise<void>;
}

function refuse(
  program: string,
  lines: readonly string[],
  failures: readonly LineFailure[],
  tolerate: (text: string, line: string) => boolean,
): void {
  const failure = failures.find(({ text, line }) => !tolerate(text, lines[line] ?? ''));
  if (!failure) return;
  const line = lines[failure.line] ?? '';
  throw new SkerryError('host_command_failed', `"${program} ${line}" failed: ${failure.text}`, {
    details: { file: program, line, failed: failures.length },
  });
}

const never = (): boolean => false;

export function createHostLines(identity: Identity): HostLines {
  const ipJobs = coalesce(async (jobs: readonly (readonly string[])[]) => {
    const failures = await ipBatch(jobs.flat(), limit());
    let first = 0;
    return jobs.map((lines) => {
      const from = first;
      first += lines.length;
      return failures
        .filter(({ line }) => line >= from && line < first)
        .map((failure) => ({ ...failure, line: failure.line - from }));
    });
  });

  const removals = coalesce(async (jobs: readonly Removal[]) => {
    const lines = removeLines(identity, {
      netns: jobs.flatMap((job) => job.netns),
      devices: jobs.flatMap((job) => job.devices),
    });
    const gone = (text: string) => /Cannot find device|No such (device|file)/.test(text); // what is gone needs no removing
    refuse('ip', lines, await ipBatch(lines, limit()), gone);
    return jobs;
  });

  const nftJobs = coalesce(async (scripts: readonly string[]) => {
    const outcome = (error?: unknown) => ({ error });
    try {
      await nftApply(scripts.join('\n'), limit());
      return scripts.map(() => outcome());
    } catch (error) {
      if (scripts.length === 1) return [outcome(error)];
    }
    const outcomes = []; // one of them is at fault: a transaction has no more to say, so each goes alone
    for (const script of scripts) {
      outcomes.push(await nftApply(script, limit()).then(() => outcome(), outcome));
    }
    return outcomes;
  });

  return {
    async ip(lines, tolerate = never) {
      if (lines.length > 0) refuse('ip', lines, await ipJobs(lines), tolerate);
    },
    async remove(what) {
      if (what.netns.length + what.devices.length > 0) await removals(what);
    },
    async ipInside(netns, lines) {
      refuse(`ip -n ${netns}`, lines, await ipBatch(lines, limit(), netns), never);
    },
    async tc(lines) {
      refuse(
        'tc',
        lines,
        await tcBatch(lines, limit()),
        (_, line) => line.startsWith('qdisc del') || line.endsWith('fq_codel'),
      );
    },
    async fdb(lines, tolerate = never) {
      refuse('bridge', lines, await bridgeBatch(lines, limit()), tolerate);
    },
    async nft(script) {
      const { error } = await nftJobs(script);
      if (error !== undefined) throw error;
    },
  };
}
