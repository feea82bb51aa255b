/**
 * One look at a guest: does it answer? Over the node network for http and tcp, through the runtime for a command.
 * It never retries and never judges; a reason comes back with every no.
 */
import { request } from 'node:http';
import { connect } from 'node:net';
import { asSkerryError, type Id } from '@skerry/model';
import type { Runtime } from '@skerry/runtimes';
import type { HealthTarget } from '../guests/resolve.ts';

export interface ProbeRequest {
  readonly uid: Id<'instance'>;
  readonly target: HealthTarget;
  readonly address: string | undefined;
  readonly runtime: Runtime;
  /** Until a connection stands: short while a guest boots, for a packet that was sent too early is not answered later. */
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export type ProbeResult = { readonly ok: true } | { readonly ok: false; readonly message: string };
export type HealthProbe = (request: ProbeRequest) => Promise<ProbeResult>;

const no = (message: string): ProbeResult => ({ ok: false, message });

export const probeGuest: HealthProbe = (ask) => {
  const { target, address } = ask;
  if (target.kind === 'exec') return probeExec(ask, target.command);
  if (address === undefined) return Promise.resolve(no('the guest has no address to ask'));
  return target.kind === 'http' ? probeHttp(ask, address, target) : probeTcp(ask, address, target.port);
};

function probeTcp(ask: ProbeRequest, host: string, port: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, signal: ask.signal });
    const end = (result: ProbeResult) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(
      () => end(no(`no connection to port ${port} within ${ask.connectTimeoutMs} ms`)),
      ask.connectTimeoutMs,
    );
    socket.once('connect', () => end({ ok: true }));
    socket.once('error', (error) => end(no(`no connection to port ${port}: ${error.message}`)));
  });
}

function probeHttp(
  ask: ProbeRequest,
  host: string,
  target: { port: number; path: string },
): Promise<ProbeResult> {
  const what = `GET ${target.path} on port ${target.port}`;
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout;
    const asked = request({
      ...{ host, port: target.port, path: target.path, signal: ask.signal },
      agent: false, // a connection of its own: one that is kept open would hide that no new one can be made
      headers: { 'user-agent': 'skerry-health', connection: 'close' },
    });
    const end = (result: ProbeResult) => {
      clearTimeout(timer);
      asked.destroy();
      resolve(result);
    };
    const limit = (ms: number, message: string) => {
      clearTimeout(timer);
      timer = setTimeout(() => end(no(message)), ms);
    };
    limit(ask.connectTimeoutMs, `no connection to port ${target.port} within ${ask.connectTimeoutMs} ms`);
    asked.once('socket', (socket) => {
      socket.once('connect', () => limit(ask.timeoutMs, `${what} had no answer within ${ask.timeoutMs} ms`));
    });
    asked.once('response', (response) => {
      const status = response.statusCode ?? 0;
      end(status >= 200 && status < 400 ? { ok: true } : no(`${what} answered ${status}`));
    });
    asked.on('error', (error) => end(no(`${what}: ${error.message}`)));
    asked.end();
  });
}

async function probeExec(ask: ProbeRequest, command: readonly string[]): Promise<ProbeResult> {
  const what = `the command ${command[0]}`;
  if (!ask.runtime.exec) return no(`the runtime ${ask.runtime.kind} can not run commands in a guest`);
  const limit = new AbortController();
  const over = new Promise<'over'>((resolve) =>
    limit.signal.addEventListener('abort', () => resolve('over')),
  );
  const onAbort = () => limit.abort();
  ask.signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(onAbort, ask.timeoutMs);
  try {
    const session = await ask.runtime.exec.exec(ask.uid, { command, terminal: false }, limit.signal);
    void drain(session.output);
    const code = await Promise.race([session.exit, over]);
    if (code === 0) return { ok: true };
    if (code !== 'over') return no(`${what} ended with code ${code}`);
    await session.kill();
    return no(`${what} did not end within ${ask.timeoutMs} ms`);
  } catch (thrown) {
    return no(`${what}: ${asSkerryError(thrown).message}`);
  } finally {
    clearTimeout(timer);
    ask.signal.removeEventListener('abort', onAbort);
  }
}

/** The exit code decides, not the output; but a pipe that nobody reads would block the command. */
async function drain(output: AsyncIterable<unknown>): Promise<void> {
  try {
    for await (const _ of output);
  } catch {
    // it ends with its session
  }
}
