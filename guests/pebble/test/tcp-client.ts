/**
 * TCP's client side for tests: handshake, retransmission (go-back-n, doubling timer), reassembly, orderly end. No
 * congestion control: the link is local, and what is lost is lost on purpose.
 */
import { ACK, FIN, PSH, RST, type Segment, SYN } from './packets.ts';
import { type Peer, segment } from './peer.ts';

const RTO_MS = 60;
const RTO_MAX_MS = 1000;
const SEGMENT_BYTES = 1460;

const after = (a: number, b: number): boolean => ((a - b) | 0) > 0;

export class TcpClient {
  readonly port: number;
  /** What the guest has sent, in order. */
  received = Buffer.alloc(0);
  /** 'open' until the guest's FIN ('ended') or RST ('reset'). */
  state: 'connecting' | 'open' | 'ended' | 'reset' = 'connecting';
  /** The window we tell; 0 stops the guest. */
  window = 65_535;
  private readonly peer: Peer;
  private readonly guestPort: number;
  private outbox = Buffer.alloc(0);
  private una: number;
  private nextSeq: number;
  private expected = 0;
  private guestWindow = 0;
  private guestMss = 536;
  private early = new Map<number, Buffer>();
  private guestFin: number | undefined;
  private finWanted = false;
  private finSent = false;
  private rtoMs = RTO_MS;
  private timer: NodeJS.Timeout | undefined;
  private waiting = new Set<() => void>();
  /** The last segments of the guest, for the message of a failure. */
  private heard: string[] = [];

  constructor(peer: Peer, port: number, guestPort: number) {
    this.peer = peer;
    this.port = port;
    this.guestPort = guestPort;
    this.una = this.nextSeq = (port * 65_537) >>> 0;
  }

  async open(limitMs: number): Promise<this> {
    this.sendSyn();
    await this.until(() => this.state !== 'connecting', limitMs, 'the handshake');
    if (this.state === 'reset') throw new Error('connection refused');
    return this;
  }

  send(data: Buffer | string): void {
    this.outbox = Buffer.concat([this.outbox, Buffer.from(data)]);
    this.push();
  }

  /** The sequence number of the next byte that {@link send} would send. */
  get sendSequence(): number {
    return (this.una + this.outbox.length) >>> 0;
  }

  /** The sequence number expected next from the guest. */
  get acknowledgement(): number {
    return this.expected;
  }

  /** One segment by hand, without retransmission; {@link skip} afterwards counts such bytes as sent. */
  sendAt(seq: number, data: Buffer): void {
    this.peer.sendSegment(this.segment({ seq, data }));
  }

  skip(bytes: number): void {
    this.una = this.nextSeq = (this.una + bytes) >>> 0;
  }

  /** Our side has said all: FIN behind what is queued. */
  end(): void {
    this.finWanted = true;
    this.push();
  }

  reset(): void {
    this.peer.sendSegment(this.segment({ seq: this.nextSeq, flags: RST | ACK }));
    this.abandon();
  }

  /** Forgets the connection without a word. */
  abandon(): void {
    clearTimeout(this.timer);
    this.peer.forget(this);
  }

  /** Opens or shuts the window and tells the guest. */
  setWindow(bytes: number): void {
    this.window = bytes;
    this.acknowledge();
  }

  /** Waits for a level; rejects after `limitMs`. */
  until(level: () => boolean, limitMs = 45_000, what = 'it'): Promise<void> {
    return new Promise((done, fail) => {
      const check = () => {
        if (!level()) return;
        clearTimeout(timer);
        this.waiting.delete(check);
        done();
      };
      const timer = setTimeout(() => {
        this.waiting.delete(check);
        fail(
          new Error(
            `port ${this.port}: waited ${limitMs} ms for ${what}; state ${this.state}, ${this.received.length} bytes received; we are at ${this.una}, expect ${this.expected}; last heard: ${this.heard.join(' | ') || 'nothing'}`,
          ),
        );
      }, limitMs);
      this.waiting.add(check);
      check();
    });
  }

  take(s: Segment): void {
    this.heard.push(
      `flags ${s.flags.toString(16)} seq ${s.seq} ack ${s.ack} window ${s.window} data ${s.data.length}`,
    );
    if (this.heard.length > 8) this.heard.shift();
    if (s.flags & RST) this.takeReset(s);
    else if (this.state === 'connecting') {
      // Of a connection before this one, which the guest has not forgotten: it is told that there is none (RFC 9293, 3.10.7.3).
      if (s.flags & ACK && s.ack !== (this.una + 1) >>> 0)
        this.peer.sendSegment(this.segment({ seq: s.ack, ack: 0, flags: RST }));
      else this.takeSynAck(s);
    } else if (s.flags & SYN) this.acknowledge();
    else {
      this.takeAck(s);
      this.takeData(s);
      // Both sides have said all: the port is free again.
      if (this.state === 'ended' && this.finSent && !this.finWanted) this.abandon();
    }
    for (const check of [...this.waiting]) check();
  }

  private segment(fields: Partial<Segment>): Segment {
    return segment(this.port, {
      destinationPort: this.guestPort,
      ack: this.expected,
      window: this.window,
      ...fields,
    });
  }

  private sendSyn(): void {
    this.peer.sendSegment(this.segment({ seq: this.una, ack: 0, flags: SYN, mss: SEGMENT_BYTES }));
    this.restartTimer(() => this.sendSyn());
  }

  private takeSynAck(s: Segment): void {
    if ((s.flags & (SYN | ACK)) !== (SYN | ACK) || s.ack !== (this.una + 1) >>> 0) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.rtoMs = RTO_MS;
    this.una = this.nextSeq = s.ack;
    this.expected = (s.seq + 1) >>> 0;
    this.guestWindow = s.window;
    this.guestMss = SEGMENT_BYTES;
    this.state = 'open';
    this.acknowledge();
    this.push();
  }

  private takeReset(s: Segment): void {
    // RFC 9293: in the handshake by its ACK, later by its sequence number.
    if (this.state === 'connecting' ? s.ack !== (this.una + 1) >>> 0 : s.seq !== this.expected) return;
    this.state = 'reset';
    this.abandon();
  }

  private takeAck(s: Segment): void {
    const acked = (s.ack - this.una) >>> 0;
    const limit = this.outbox.length + (this.finWanted ? 1 : 0);
    if (acked > 0 && acked <= limit) {
      this.outbox = this.outbox.subarray(Math.min(acked, this.outbox.length));
      if (acked === limit && this.finWanted) this.finWanted = false;
      this.una = s.ack;
      if (after(this.una, this.nextSeq)) this.nextSeq = this.una;
      this.rtoMs = RTO_MS;
      clearTimeout(this.timer);
      this.timer = undefined;
    }
    this.guestWindow = s.window;
    this.push();
  }

  private takeData(s: Segment): void {
    if (s.flags & FIN) this.guestFin = (s.seq + s.data.length) >>> 0;
    if (s.data.length) this.early.set(s.seq, Buffer.from(s.data));
    const before = this.expected;
    for (let moved = true; moved; ) {
      moved = false;
      for (const [seq, data] of this.early) {
        const known = (this.expected - seq) | 0;
        if (known < 0) continue;
        this.early.delete(seq);
        if (known >= data.length) continue;
        this.received = Buffer.concat([this.received, data.subarray(known)]);
        this.expected = (seq + data.length) >>> 0;
        moved = true;
      }
    }
    if (this.guestFin === this.expected && this.state === 'open') {
      this.state = 'ended';
      this.expected = (this.expected + 1) >>> 0;
    }
    if (s.data.length || s.flags & FIN || before !== this.expected) this.acknowledge();
  }

  private acknowledge(): void {
    this.peer.sendSegment(this.segment({ seq: this.nextSeq }));
  }

  private push(): void {
    if (this.state !== 'open' && this.state !== 'ended') return;
    for (;;) {
      const sent = (this.nextSeq - this.una) >>> 0;
      const left = this.outbox.length - sent;
      const length = Math.min(left, this.guestMss, Math.max(0, this.guestWindow - sent));
      const fin = this.finWanted && length === left;
      if (left < 0 || (length <= 0 && !fin)) break;
      const data = this.outbox.subarray(sent, sent + length);
      this.peer.sendSegment(this.segment({ seq: this.nextSeq, flags: ACK | PSH | (fin ? FIN : 0), data }));
      this.nextSeq = (this.nextSeq + length + (fin ? 1 : 0)) >>> 0;
      this.finSent ||= fin;
      if (fin) break;
    }
    const outstanding = this.outbox.length > 0 || this.finWanted;
    if (outstanding && !this.timer) this.restartTimer(() => this.resend());
  }

  private resend(): void {
    this.nextSeq = this.una;
    // A guest whose window is shut is probed with one byte.
    if (this.guestWindow === 0) this.guestWindow = 1;
    this.push();
  }

  private restartTimer(act: () => void): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.rtoMs = Math.min(this.rtoMs * 2, RTO_MAX_MS);
      act();
    }, this.rtoMs);
  }
}
