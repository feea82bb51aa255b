/**
 * `$SYS/broker/…`: a few figures of the broker, for a project whose devices may read them. They are made only while somebody asks,
 * and never tell of other projects more than the sums of the node.
 */
import type { Delivery } from './session.ts';

const EVERY_MS = 10_000;

export class SystemTopics {
  readonly #publish: (project: string, delivery: Delivery) => boolean;
  readonly #figures: () => object;
  readonly #projects = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  readonly #beganMs = Date.now();

  constructor(publish: (project: string, delivery: Delivery) => boolean, figures: () => object) {
    this.#publish = publish;
    this.#figures = figures;
  }

  /** Somebody subscribed to this filter. */
  asked(project: string, filter: string): void {
    if (!filter.startsWith('$SYS/')) return;
    this.#projects.add(project);
    this.#tell(project);
    this.#timer ??= setInterval(() => this.#all(), EVERY_MS).unref();
  }
  #all(): void {
    for (const project of [...this.#projects]) if (!this.#tell(project)) this.#projects.delete(project);
    if (this.#projects.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
  /** Whether anybody hears it. */
  #tell(project: string): boolean {
    const figures = { uptime: Math.round((Date.now() - this.#beganMs) / 1000), ...this.#figures() };
    const heard = Object.entries(figures).map(([name, value]) =>
      this.#publish(project, {
        ...{ topic: `$SYS/broker/${name}`, payload: Buffer.from(String(value)), qos: 0, retain: false },
      }),
    );
    return heard.includes(true);
  }
  stop(): void {
    clearInterval(this.#timer);
  }
}
