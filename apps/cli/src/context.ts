/** What every command shares: the global options, the client, the output. Nothing is opened before it is used. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Client, Endpoint } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import type { Command } from 'commander';
import { createOutput, type Output, type OutputFormat } from './terminal/output.ts';
import { type Progress, startProgress } from './terminal/progress.ts';

interface GlobalOptions {
  readonly data: string;
  readonly server?: string;
  readonly project: string;
  readonly output: OutputFormat;
  readonly quiet: boolean;
}

export interface Context {
  readonly dataDir: string;
  readonly project: string;
  readonly quiet: boolean;
  readonly output: Output;
  /** Runs `use` with a connected client and closes it. */
  withClient<T>(use: (client: Client) => Promise<T>): Promise<T>;
  /** A line that moves while something takes its time. */
  progress(text: string): Progress;
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

export function createContext(program: Command): Context {
  const options = () => program.opts<GlobalOptions>();
  return {
    get dataDir() {
      return resolve(options().data);
    },
    get project() {
      return options().project;
    },
    get quiet() {
      return options().quiet;
    },
    get output() {
      return createOutput(options().output, options().quiet);
    },
    async withClient(use) {
      const { createClient } = await import('@skerry/contract');
      const client = createClient(endpointOf(options()));
      try {
        return await use(client);
      } finally {
        await client.close();
      }
    },
    progress: (text) => startProgress(text, options().quiet),
  };
}
