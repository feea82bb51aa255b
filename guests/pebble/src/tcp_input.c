// TCP's receiving side: RFC 9293, 3.10.7, with RFC 5961's answers to blind resets, SYNs and acknowledgements.
#include "clock.h"
#include "config.h"
#include "memory.h"
#include "tcp.h"

enum { TIME_WAIT_MS = 10000, FIN_WAIT_2_MS = 10000, DUPLICATES = 3, CHALLENGES_PER_SECOND = 100, FLAGS_HANDLED = 0x17 };

struct segment {
  u32 seq, ack, window, length;  // length: bytes of data
  u8 flags;
  const u8 *data, *options;
  u32 options_length;
};

static bool parse(const struct ip_packet *packet, struct segment *s) {
  const u8 *p = packet->payload;
  u32 header = packet->length >= TCP_HEADER_BYTES ? (u32)(p[12] >> 4) * 4 : 0;
  if (header < TCP_HEADER_BYTES || header > packet->length || get16(p) == 0) {
    tcp_counters.malformed++;
    return false;
  }
  if (checksum(p, packet->length, pseudo_header_sum(packet->source, config.ip, PROTOCOL_TCP, packet->length)) != 0) {
    tcp_counters.bad_checksum++;
    return false;
  }
  *s = (struct segment){get32(p + 4), get32(p + 8), get16(p + 14), packet->length - header, p[13] & FLAGS_HANDLED,
                        p + header, p + TCP_HEADER_BYTES, header - TCP_HEADER_BYTES};
  return true;
}

static u32 peer_mss(const struct segment *s) {
  const u8 *p = s->options, *end = p + s->options_length;
  u32 mss = 536;
  while (p < end && *p != 0) {
    if (*p == 1) {
      p++;
      continue;
    }
    if (end - p < 2 || p[1] < 2 || p[1] > end - p) break;
    if (p[0] == 2 && p[1] == 4) mss = get16(p + 2);
    p += p[1];
  }
  return mss < 64 ? 64 : (u32)min_u64(mss, MSS_LOCAL);
}

static void refuse(const struct ip_packet *packet, const struct segment *s) {
  tcp_counters.refused++;
  if (s->flags & TCP_RST) return;
  if (s->flags & TCP_ACK) tcp_send_raw(packet, s->ack, 0, TCP_RST, 0, 0);
  else tcp_send_raw(packet, 0, s->seq + s->length + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN), TCP_RST | TCP_ACK, 0, 0);
}

// A segment that proves a handshake by its cookie becomes a connection.
static struct tcp_connection *accept_cookie(const struct ip_packet *packet, const struct segment *s) {
  u32 mss;
  u16 port = get16(packet->payload);
  enum cookie_verdict verdict = tcp_cookie_check(packet, port, s->seq - 1, s->ack - 1, &mss);
  if (verdict == COOKIE_WRONG) refuse(packet, s);
  if (verdict != COOKIE_GOOD) return NULL;
  struct tcp_connection *c = tcp_take_slot();
  if (!c) return NULL;
  c->in = tcp_memory(c, NULL, IN_BYTES);
  if (!c->in) {
    tcp_counters.no_memory++;
    return NULL;
  }
  c->state = TCP_ESTABLISHED;
  c->peer_ip = packet->source;
  c->peer_port = port;
  memcpy(c->peer_mac, packet->source_mac, 6);
  c->una = c->next = c->high = c->recover = s->ack;
  c->window = s->window;
  c->window_seq = s->seq;
  c->window_ack = s->ack;
  c->mss = mss;
  c->cwnd = 10 * mss;  // RFC 6928
  c->ssthresh = 1 << 20;
  c->rto_ms = 1000;
  c->expected = s->seq;
  c->advertised_end = s->seq + IN_BYTES;
  c->active_ns = clock_now_ns();
  tcp_counters.accepted++;
  http_opened(c);
  return c;
}

static void challenge(struct tcp_connection *c) {
  static u64 second, sent;
  u64 now = clock_now_ns() / NS_PER_S;
  if (now != second) {
    second = now;
    sent = 0;
  }
  if (sent++ < CHALLENGES_PER_SECOND) tcp_acknowledge(c);
}

static void take_ack(struct tcp_connection *c, const struct segment *s) {
  bool update = seq_before(c->window_seq, s->seq) || (c->window_seq == s->seq && seq_not_after(c->window_ack, s->ack));
  bool same_window = s->window == c->window;
  if (seq_before(c->una, s->ack)) {
    c->active_ns = clock_now_ns();
    tcp_acknowledged(c, s->ack);
  } else if (s->ack == c->una && s->length == 0 && same_window && c->next != c->una && c->window && !(s->flags & TCP_FIN)) {
    if (++c->duplicate_acks == DUPLICATES && !c->recovering) {
      c->recovering = true;
      c->recover = c->high;
      c->ssthresh = (u32)max_u64((c->next - c->una) / 2, 2 * c->mss);
      c->cwnd = c->ssthresh + DUPLICATES * c->mss;
      tcp_retransmit_first(c);
    } else if (c->recovering) {
      c->cwnd += c->mss;
    }
  }
  if (update) {
    if (c->window == 0 && s->window) {
      c->next = c->una;  // the probe's byte was most likely thrown away
      c->timer_ns = 0;
    }
    c->window = s->window;
    c->window_seq = s->seq;
    c->window_ack = s->ack;
  }
  if (c->window == 0) c->retries = 0;  // a peer that answers probes is alive
}

static void copy_in(struct tcp_connection *c, u32 seq, const u8 *data, u32 length) {
  u32 at = (c->in_start + c->in_length + (seq - c->expected)) % IN_BYTES;
  u32 first = (u32)min_u64(length, IN_BYTES - at);
  memcpy(c->in + at, data, first);
  memcpy(c->in, data + first, length - first);
}

// Remembers bytes that came early; when there is no place to note them they come again.
static void hold(struct tcp_connection *c, u32 from, u32 to) {
  for (unsigned i = 0; i < c->held_count;) {
    if (seq_before(c->held[i].to, from) || seq_before(to, c->held[i].from)) {
      i++;
      continue;
    }
    if (seq_before(c->held[i].from, from)) from = c->held[i].from;
    if (seq_before(to, c->held[i].to)) to = c->held[i].to;
    c->held[i] = c->held[--c->held_count];
  }
  if (c->held_count == GAPS_MAX) return;
  c->held[c->held_count].from = from;
  c->held[c->held_count++].to = to;
}

static void advance(struct tcp_connection *c, u32 to) {
  bool grown = true;
  while (grown) {
    grown = false;
    for (unsigned i = 0; i < c->held_count; i++) {
      if (seq_before(to, c->held[i].from)) continue;
      if (seq_before(to, c->held[i].to)) to = c->held[i].to;
      c->held[i] = c->held[--c->held_count];
      grown = true;
      break;
    }
  }
  if (!c->discard) c->in_length += to - c->expected;
  c->expected = to;
}

// Data of an acceptable segment, cut to what is new and fits. True when the stream has grown.
static bool take_data(struct tcp_connection *c, struct segment *s) {
  u32 window_end = c->expected + IN_BYTES - c->in_length;
  if (seq_before(s->seq, c->expected)) {
    u32 old = c->expected - s->seq;
    if (old >= s->length) return false;  // only a FIN can be new in it
    s->seq += old;
    s->data += old;
    s->length -= old;
  }
  if (seq_before(window_end, s->seq + s->length)) {
    s->length = window_end - s->seq;
    s->flags &= (u8)~TCP_FIN;
    if (s->length == 0) challenge(c);  // a probe of our shut window
  }
  if (s->length == 0) return false;
  if (!c->discard) copy_in(c, s->seq, s->data, s->length);
  if (s->seq != c->expected) {
    hold(c, s->seq, s->seq + s->length);
    tcp_acknowledge(c);  // at once: the peer counts duplicates
    return false;
  }
  bool filled_gap = c->held_count > 0;
  advance(c, s->seq + s->length);
  if (filled_gap) tcp_acknowledge(c);
  else c->ack_wanted = true;
  return true;
}

static void enter_time_wait(struct tcp_connection *c) {
  c->state = TCP_TIME_WAIT;
  c->timer_ns = clock_now_ns() + TIME_WAIT_MS * NS_PER_MS;
  c->expires_ns = 0;
}

static void take_fin(struct tcp_connection *c, u32 at) {
  if (c->fin_seen || at != c->expected) return;
  c->fin_seen = true;
  c->expected++;
  tcp_acknowledge(c);
  if (c->state == TCP_ESTABLISHED) c->state = TCP_CLOSE_WAIT;
  else if (c->state == TCP_FIN_WAIT_1) c->state = TCP_CLOSING;
  else if (c->state == TCP_FIN_WAIT_2) enter_time_wait(c);
}

static bool fin_acknowledged(const struct tcp_connection *c) { return c->fin_wanted && c->out_length == 0 && c->una == c->high && c->next == c->una; }

static void process(struct tcp_connection *c, struct segment *s) {
  u32 window = IN_BYTES - c->in_length, extent = s->length + !!(s->flags & TCP_FIN);
  // Acceptable: begins inside the window, or ends inside it.
  bool begins = s->seq - c->expected < window || s->seq == c->expected;
  bool ends = extent && s->seq + extent - 1 - c->expected < window;
  if (s->flags & TCP_RST) {
    if (s->seq == c->expected) {
      tcp_counters.reset++;
      tcp_free(c);
    } else if (begins) {
      challenge(c);
    }
    return;
  }
  if (s->flags & TCP_SYN || !(begins || ends)) {
    challenge(c);
    return;
  }
  if (!(s->flags & TCP_ACK)) return;
  if (seq_before(c->high, s->ack) || seq_before(s->ack, c->una - 0x10000)) {
    challenge(c);
    return;
  }
  take_ack(c, s);
  bool grown = false;
  u32 fin_at = s->seq + s->length;
  if (c->state == TCP_ESTABLISHED || c->state == TCP_FIN_WAIT_1 || c->state == TCP_FIN_WAIT_2) grown = take_data(c, s);
  if (grown) c->active_ns = clock_now_ns();
  if (s->flags & TCP_FIN) take_fin(c, fin_at);
  if (fin_acknowledged(c)) {
    if (c->state == TCP_LAST_ACK) {
      tcp_free(c);
      return;
    }
    if (c->state == TCP_CLOSING) enter_time_wait(c);
    if (c->state == TCP_FIN_WAIT_1) {
      c->state = TCP_FIN_WAIT_2;
      c->expires_ns = clock_now_ns() + FIN_WAIT_2_MS * NS_PER_MS;
    }
  }
  if (c->state == TCP_TIME_WAIT) return;
  http_progress(c);
  if (c->state != TCP_FREE) tcp_output(c);
}

void tcp_input(const struct ip_packet *packet) {
  struct segment s;
  if (!parse(packet, &s)) return;
  if (get16(packet->payload + 2) != config.port) {
    refuse(packet, &s);
    return;
  }
  u16 port = get16(packet->payload);
  struct tcp_connection *c = tcp_find(packet->source, port);
  bool only_syn = (s.flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
  if (c && c->state == TCP_TIME_WAIT && only_syn && seq_before(c->expected, s.seq)) {
    tcp_free(c);
    c = NULL;
  }
  if (c) {
    process(c, &s);
    return;
  }
  if (only_syn) {
    tcp_counters.syn++;
    u32 mss = peer_mss(&s);
    tcp_send_raw(packet, tcp_cookie(packet, port, s.seq, mss), s.seq + 1, TCP_SYN | TCP_ACK, IN_BYTES, MSS_LOCAL);
  } else if ((s.flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK) {
    c = accept_cookie(packet, &s);
    if (c) process(c, &s);
  } else if (!(s.flags & TCP_RST)) {
    refuse(packet, &s);
  }
}
