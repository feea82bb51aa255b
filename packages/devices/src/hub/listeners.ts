/**
 * What devices connect to: the broker's own listeners, and HTTPS ones beside it. All begin together and are exchanged together
 * when the agent tells of other addresses or another certificate. One that can not begin (its port is taken) is told, and the
 * others go on.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Broker, BrokerListen } from '../ports.ts';
import type { HttpIngest } from './http-ingest.ts';
import { type HttpsListener, openHttpsListener } from './https-listener.ts';
import { type Listen, parseListenUrl, reachableUrls } from './listen.ts';
import type { Local } from './local.ts';
import type { Logger, TlsPaths } from './parts.ts';

export interface ListenersOptions {
  readonly openBroker: (listen: readonly BrokerListen[], tls: TlsPaths | undefined) => Promise<Broker>;
  readonly http: HttpIngest;
  readonly logger: Logger;
}

const isOfBroker = (one: Listen): one is BrokerListen => one.protocol === 'mqtt' || one.protocol === 'mqtts';

/** Another one than before: what is in the files is another thing. */
const markOf = ({ tls, listen, outside }: Local): string =>
  createHash('sha256')
    .update(JSON.stringify([listen, outside]))
    .update(tls ? readFileSync(tls.certificate) : '')
    .digest('hex');

const words = (thrown: unknown, { host, port }: Listen): string =>
  (thrown as NodeJS.ErrnoException).code === 'EADDRINUSE'
    ? `port ${port} of ${host} is taken by another program: end it, or name another port with --devices`
    : (thrown as Error).message;

export class Listeners {
  readonly #options: ListenersOptions;
  #broker: Broker | undefined;
  #https: HttpsListener[] = [];
  #listens: readonly Listen[] = [];
  #addresses: readonly string[] = [];
  #troubles: { readonly url: string; readonly reason: string }[] = [];
  /** What runs now was begun with this. */
  #begunWith = '';

  constructor(options: ListenersOptions) {
    this.#options = options;
  }

  get broker(): Broker | undefined {
    return this.#broker;
  }

  get urls(): string[] {
    return reachableUrls(this.#listens, this.#addresses);
  }

  get troubles(): readonly { readonly url: string; readonly reason: string }[] {
    return this.#troubles;
  }

  /** Does nothing where what runs is what is wished. */
  async wish(local: Local): Promise<void> {
    this.#addresses = local.addresses;
    const tls = local.tls && { keyPath: local.tls.key, certificatePath: local.tls.certificate };
    const mark = markOf(local);
    if (mark === this.#begunWith && this.#troubles.length === 0) return;
    await this.close();
    const wanted = local.listen.filter((url) => url !== 'none').map(parseListenUrl);
    const secure = wanted.filter(({ protocol }) => protocol === 'mqtt' || tls !== undefined);
    const begun = await this.#beginBroker(secure.filter(isOfBroker), tls);
    for (const one of secure) {
      if (isOfBroker(one) || !tls || !this.#broker) continue;
      await this.#try(one, async () => {
        const parts = { broker: this.#broker!, http: this.#options.http };
        const listener = await openHttpsListener(one, tls, parts);
        this.#https.push(listener);
        begun.push(listener.listen);
      });
    }
    this.#listens = begun;
    this.#begunWith = mark;
  }

  async close(): Promise<void> {
    const [https, broker] = [this.#https, this.#broker];
    this.#https = [];
    this.#broker = undefined;
    this.#listens = [];
    this.#troubles = [];
    await Promise.all(https.map((one) => one.close()));
    await broker?.stop();
  }

  /** All at once; where one of them can not begin, those that can. */
  async #beginBroker(listens: readonly BrokerListen[], tls: TlsPaths | undefined): Promise<Listen[]> {
    const open = async (some: readonly BrokerListen[]) => {
      const broker = await this.#options.openBroker(some, tls);
      try {
        const begun = await broker.start();
        this.#broker = broker;
        return [...begun] as Listen[];
      } catch (error) {
        await broker.stop().catch(() => undefined);
        throw error;
      }
    };
    try {
      return await open(listens);
    } catch (error) {
      if (listens.length === 0) throw error;
    }
    const good: BrokerListen[] = [];
    for (const one of listens) {
      await this.#try(one, async () => {
        await open([one]);
        await this.#broker?.stop();
        this.#broker = undefined;
        good.push(one);
      });
    }
    return open(good);
  }

  async #try(listen: Listen, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      const { protocol, host, port } = listen;
      const trouble = { url: `${protocol}://${host}:${port}`, reason: words(thrown, listen) };
      this.#troubles.push(trouble);
      this.#options.logger.warn(trouble, 'devices can not come in there');
    }
  }
}
