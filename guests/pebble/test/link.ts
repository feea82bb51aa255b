/**
 * A wire between the test and a guest: a unix socket on which QEMU's `-netdev stream` puts each Ethernet frame
 * behind its length in four bytes. It can lose, double, reorder and damage frames, in both directions, by a seed.
 * It knows nothing of what the frames hold.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { below, type Chance, chance } from './chance.ts';

export interface Impairment {
  /** Share of the frames, 0 to 1. */
  drop?: number;
  duplicate?: number;
  corrupt?: number;
  /** Held back until the next few frames have passed, or 5 ms. */
  reorder?: number;
}

export class Link {
  readonly path: string;
  private readonly server: Server;
  private socket: Socket | undefined;
  private pending = Buffer.alloc(0);
  private impairment: Impairment = {};
  private random: Chance = chance(1);
  onFrame: (frame: Buffer) => void = () => {};
  framesIn = 0;

  private constructor(path: string) {
    this.path = path;
    this.server = createServer((socket) => {
      this.socket = socket;
      socket.on('data', (bytes) => this.take(bytes));
      socket.on('error', () => {});
    });
  }

  static async open(path: string): Promise<Link> {
    const link = new Link(path);
    await new Promise<void>((done, fail) => {
      link.server.once('error', fail);
      link.server.listen(path, done);
    });
    return link;
  }

  impair(impairment: Impairment, seed: number): void {
    this.impairment = impairment;
    this.random = chance(seed);
  }

  send(frame: Buffer): void {
    this.damage(frame, (f) => this.write(f));
  }

  /** True while QEMU's side has not taken what was sent. */
  get congested(): boolean {
    return (this.socket?.writableLength ?? 0) > 65536;
  }

  drained(): Promise<void> {
    return new Promise((done) => {
      if (!this.socket || this.socket.writableLength === 0) done();
      else this.socket.once('drain', done);
    });
  }

  close(): void {
    this.socket?.destroy();
    this.server.close();
  }

  private write(frame: Buffer): void {
    // QEMU 7.2 takes an empty frame for "the guest has no room" and reads no more.
    if (frame.length === 0) return;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(frame.length);
    this.socket?.write(Buffer.concat([length, frame]));
  }

  private take(bytes: Buffer): void {
    this.pending = Buffer.concat([this.pending, bytes]);
    while (this.pending.length >= 4) {
      const length = this.pending.readUInt32BE(0);
      if (this.pending.length < 4 + length) return;
      const frame = Buffer.from(this.pending.subarray(4, 4 + length));
      this.pending = this.pending.subarray(4 + length);
      this.framesIn++;
      this.damage(frame, (f) => this.onFrame(f));
    }
  }

  private damage(frame: Buffer, pass: (frame: Buffer) => void): void {
    const { drop = 0, duplicate = 0, corrupt = 0, reorder = 0 } = this.impairment;
    if (this.random() < drop) return;
    if (this.random() < duplicate) pass(Buffer.from(frame));
    if (this.random() < corrupt) {
      frame = Buffer.from(frame);
      const at = below(this.random, frame.length);
      frame[at] = frame[at]! ^ (1 << below(this.random, 8));
    }
    if (this.random() < reorder) setTimeout(() => pass(frame), 1 + below(this.random, 5));
    else pass(frame);
  }
}
