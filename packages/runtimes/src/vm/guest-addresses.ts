/**
 * What a guest says of its own addresses, through the agent in it: asked when the agent appears, then now and then. It is
 * hearsay: checked for its form, bounded, told only when it changed, and nothing is routed or allowed by it. A guest that
 * says something else each time is heard as seldom as any other.
 */
import { isIP } from 'node:net';
import type { AgentAnswer } from './agent-commands.ts';

/** The agent is there before the addresses are. */
const FIRST_ASK_MS = 300;
/** Each pause is twice the one before, up to this. */
const LONGEST_PAUSE_MS = 60_000;
const MOST_ADDRESSES = 16;

/** Those by which others could reach it: neither loopback nor link-local ones; sorted, each once. Pure. */
export function addressesIn(answer: AgentAnswer<'guest-network-get-interfaces'>): string[] {
  const all = answer.flatMap((card) => card['ip-addresses'] ?? []).map((one) => one['ip-address']);
  const own = all.filter(
    (text) => text.length <= 45 && isIP(text) !== 0 && !/^(127\.|169\.254\.|::1$|fe[89ab]|.*%)/i.test(text),
  );
  return [...new Set(own.map((text) => text.toLowerCase()))].sort().slice(0, MOST_ADDRESSES);
}

export interface GuestAddressesOptions {
  readonly ask: () => Promise<readonly string[]>;
  readonly onChange: () => void;
  /** Default 300 ms. */
  readonly firstAskMs?: number;
}

export class GuestAddresses {
  readonly #options: GuestAddressesOptions;
  #known: readonly string[] | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOpen = false;
  #released = false;
  #pauseMs: number;
  #notBeforeMs = 0;

  constructor(options: GuestAddressesOptions) {
    this.#options = options;
    this.#pauseMs = options.firstAskMs ?? FIRST_ASK_MS;
  }

  /** Undefined where there is no agent, or none that has answered yet. */
  get known(): readonly string[] | undefined {
    return this.#known;
  }

  /** The agent opened or closed its port. One that does so again and again is not asked more often. */
  agentIsThere(is: boolean): void {
    if (this.#isOpen === is) return;
    this.#isOpen = is;
    clearTimeout(this.#timer);
    if (is) this.#later();
    else this.#learn(undefined);
  }

  #later(): void {
    if (this.#released || !this.#isOpen) return;
    const leastMs = Math.min(this.#pauseMs, FIRST_ASK_MS);
    const waitMs = Math.max(leastMs, this.#notBeforeMs - performance.now());
    this.#timer = setTimeout(() => void this.#ask(), waitMs).unref();
  }

  async #ask(): Promise<void> {
    this.#notBeforeMs = performance.now() + this.#pauseMs;
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
    try {
      const found = await this.#options.ask();
      if (this.#isOpen && !this.#released) this.#learn(found);
    } catch {
      // it is busy, or holds still: what it said last stays
    }
    clearTimeout(this.#timer);
    this.#later();
  }

  #learn(found: readonly string[] | undefined): void {
    if (JSON.stringify(found) === JSON.stringify(this.#known)) return;
    this.#known = found;
    if (!this.#released) this.#options.onChange();
  }

  release(): void {
    this.#released = true;
    clearTimeout(this.#timer);
  }
}
