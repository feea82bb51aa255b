/**
 * The node network, kept going: started with what must stay, tried again when that fails. Guests that run are left
 * alone meanwhile; starts wait for it.
 */
import { formatMillis } from '@skerry/model';
import type { AttachRequest, NodeNetwork } from '@skerry/network';
import { type Clock, supervise } from '@skerry/reconcile';
import type { Logger } from '../ports.ts';

export interface NetworkServiceOptions {
  readonly network: NodeNetwork;
  readonly keep: () => readonly AttachRequest[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  readonly onChange: () => void;
}

export class NetworkService {
  readonly #options: NetworkServiceOptions;
  trouble: string | undefined = 'the node network has not been started yet';
  tried = false;
  #resolveFirstTry: () => void = () => {};
  readonly firstTry = new Promise<void>((resolve) => {
    this.#resolveFirstTry = resolve;
  });

  constructor(options: NetworkServiceOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { network, keep, clock, logger, random, onChange } = this.#options;
    await supervise({
      clock,
      signal,
      random,
      run: async (up) => {
        await network.start(keep(), signal);
        up();
        this.trouble = undefined;
        this.#endFirstTry();
        onChange();
        await new Promise<void>((resolve) =>
          signal.addEventListener('abort', () => resolve(), { once: true }),
        );
      },
      onDown: (error, retryInMs) => {
        this.trouble = `the node network could not be started: ${error?.message ?? 'it ended'}; next try in ${formatMillis(retryInMs)}`;
        logger.warn({ err: error, retryInMs }, 'the node network is down');
        this.#endFirstTry();
        onChange();
      },
    });
    this.#endFirstTry();
  }

  #endFirstTry(): void {
    this.tried = true;
    this.#resolveFirstTry();
  }
}
