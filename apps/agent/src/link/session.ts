/**
 * The session with the controller: register, hear what is desired, report. It is tried again whenever it ends; the node
 * goes on without it.
 */
import type { ControllerLink, DesiredState, NodeReport } from '@skerry/contract';
import { SkerryError } from '@skerry/model';
import { type Clock, supervise } from '@skerry/reconcile';
import type { Leases } from '../lease/leases.ts';
import type { Logger } from '../ports.ts';
import type { Reporter } from '../report/reporter.ts';

export interface SessionOptions {
  readonly link: ControllerLink;
  readonly node: string;
  readonly report: (signal: AbortSignal) => Promise<NodeReport>;
  readonly reporter: Reporter;
  readonly leases: Pick<Leases, 'attach' | 'detach'>;
  readonly devices?: { attach(link: ControllerLink): void; detach(): void };
  /** Resolves when the state is durable. */
  /** The controller listens. */
  readonly begun: () => void;
  readonly accept: (state: DesiredState) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

export class Session {
  readonly #options: SessionOptions;
  #reregister: () => void = () => {};

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** What the node can do has changed: the controller is told, if it listens. */
  nodeChanged(): void {
    this.#reregister();
  }

  /** Goes on until `signal` is aborted; never throws. */
  run(signal: AbortSignal): Promise<void> {
    const { clock, logger, random } = this.#options;
    return supervise({
      clock,
      signal,
      random,
      run: (up) => this.#attempt(signal, up),
      onDown: (error, retryInMs) =>
        logger.info(
          { err: error, retryInMs },
          'no session with the controller; the node goes on by its ledger',
        ),
    });
  }

  async #attempt(ending: AbortSignal, up: () => void): Promise<void> {
    const { link, node, report, reporter, leases, devices, accept, begun } = this.#options;
    const session = new AbortController();
    const signal = AbortSignal.any([ending, session.signal]);
    const fail = (error: unknown) => session.abort(error);
    try {
      await link.register(await report(signal));
      up();
      reporter.attach(link, fail);
      leases.attach(link);
      devices?.attach(link);
      begun();
      this.#reregister = () =>
        void report(signal)
          .then((now) => link.register(now))
          .catch(fail);
      for await (const state of link.desired(node, signal)) await accept(state);
    } catch (error) {
      throw session.signal.aborted ? session.signal.reason : error;
    } finally {
      this.#reregister = () => {};
      reporter.detach();
      leases.detach();
      devices?.detach();
      session.abort();
    }
    throw new SkerryError('unavailable', 'the controller ended the session');
  }
}
