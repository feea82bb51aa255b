/** What every command shares: the global options, the client, the output. Nothing is opened before it is used. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Client, Endpoint } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { Command } from 'commander';
import { withSuggestion } from './names.ts';
import { createOutput, type Output, type OutputFormat } from './terminal/output.ts';
import { type Progress, startProgress } from './terminal/progress.ts';

interface GlobalOptions {
  readonly data: string;
  readonly server?: string;
  readonly project: string;
  readonly output: OutputFormat;
  readonly quiet?: boolean;
}

export interface Context {
  readonly dataDir: string;
  /** A controller is named by its address: the data folder has no part in it. */
  readonly isRemote: boolean;
  readonly project: string;
  readonly quiet: boolean;
  readonly output: Output;
  /** Runs `use` with a connected client and closes it. */
  withClient<T>(use: (client: Client) => Promise<T>): Promise<T>;
  /** A line that moves while something takes its time. `interrupted`: what Ctrl-C leaves, in words. */
  progress(text: string, interrupted?: string): Progress;
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Server, token and authority from the environment, else from the data folder where it is readable. */
function endpointOf(options: GlobalOptions): Endpoint {
  const dataDir = resolve(options.data);
  if (!options.server) return { socketPath: join(dataDir, 'api.sock') };
  if (!/^https?:\/\/./.test(options.server))
    throw new SkerryError(
      'request_invalid',
      `"${options.server}" is no server address: write it like https://edge-1:7443`,
    );
  const token = process.env.SKERRY_TOKEN ?? readOptional(join(dataDir, 'tls/token'))?.trim();
  if (!token) {
    throw new SkerryError(
      'unauthenticated',
      `no token for ${options.server}: set SKERRY_TOKEN to the content of its data folder's tls/token`,
    );
  }
  const caPath = process.env.SKERRY_CA ?? join(dataDir, 'tls/ca.crt');
  const ca = readOptional(caPath);
  if (!ca && process.env.SKERRY_CA)
    throw new SkerryError('request_invalid', `SKERRY_CA: ${caPath} can not be read`);
  return { url: options.server, token, ...(ca === undefined ? {} : { ca }) };
}

/** Where nobody listens, an agent may run: whoever looks for its controller is told. Errors: not_running. */
async function tellAgent(error: unknown, dataDir: string): Promise<void> {
  if (!(error instanceof SkerryError && error.code === 'not_running')) return;
  const { agentHere } = await import('./server/examine.ts');
  const agent = agentHere(dataDir);
  if (agent === undefined) return;
  throw new SkerryError(
    'not_running',
    `no controller listens here: process ${agent} is the agent of one elsewhere`,
    {
      cause: error,
      details: { remedy: 'Ask there, or name it: skerry --server https://HOST:PORT (SKERRY_TOKEN).' },
    },
  );
}

export function createContext(program: Command): Context {
  const options = () => program.opts<GlobalOptions>();
  return {
    get dataDir() {
      return resolve(options().data);
    },
    get isRemote() {
      return Boolean(options().server);
    },
    get project() {
      return options().project;
    },
    get quiet() {
      return options().quiet === true;
    },
    get output() {
      return createOutput(options().output, options().quiet === true);
    },
    async withClient(use) {
      const { createClient } = await import('@skerry/contract');
      const client = createClient(endpointOf(options()));
      try {
        return await use(client);
      } catch (error) {
        if (!options().server) await tellAgent(error, resolve(options().data));
        throw await withSuggestion(error, client, options().project);
      } finally {
        await client.close();
      }
    },
    progress: (text, interrupted) => startProgress(text, options().quiet === true, interrupted),
  };
}
