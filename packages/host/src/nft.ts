/** nftables (nft(8)): a script is one transaction, all of it or nothing. */
import { netnsPath } from './netns.ts';
import { run } from './run.ts';

const LIMIT_MS = 20_000;

/** Applies a script atomically, in the named network namespace where one is given. Errors: host_missing, host_command_failed with nft's words. */
export async function nftApply(script: string, signal: AbortSignal, netns?: string): Promise<void> {
  const [file, args] =
    netns === undefined ? ['nft', []] : ['nsenter', [`--net=${netnsPath(netns)}`, '--', 'nft']];
  await run(file, [...args, '-f', '-'], { signal, timeoutMs: LIMIT_MS, input: script });
}

export interface NftTable {
  readonly family: string;
  readonly name: string;
}

export interface NftChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  /** Of base chains only: `forward`, `input` … and what becomes of a packet that no rule takes. */
  readonly hook?: string;
  readonly policy?: string;
}

async function list<Row>(what: string, signal: AbortSignal): Promise<Row[]> {
  const { stdout } = await run('nft', ['-j', 'list', what], { signal, timeoutMs: LIMIT_MS });
  const { nftables } = JSON.parse(stdout) as { nftables: Record<string, Row>[] };
  const key = what.replace(/s$/, '');
  return nftables.flatMap((entry) => (entry[key] === undefined ? [] : [entry[key]]));
}

export const nftTables = (signal: AbortSignal): Promise<NftTable[]> => list<NftTable>('tables', signal);
export const nftChains = (signal: AbortSignal): Promise<NftChain[]> => list<NftChain>('chains', signal);
