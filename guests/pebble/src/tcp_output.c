// TCP's sending side: segments, acknowledgements, retransmission (RFC 6298), congestion control (RFC 5681, 6582).
#include "clock.h"
#include "config.h"
#include "memory.h"
#include "tcp.h"

enum { RETRIES_MAX = 9 };

static void finish_segment(u8 *p, u32 peer, u32 length) {
  put16(p + 16, 0);
  put16(p + 18, 0);
  put16(p + 16, checksum(p, length, pseudo_header_sum(config.ip, peer, PROTOCOL_TCP, length)));
  ip_send(length);
}

void tcp_send_raw(const struct ip_packet *to, u32 seq, u32 ack, u8 flags, u16 window, u16 mss) {
  u8 *p = ip_packet(to->source_mac, to->source, PROTOCOL_TCP);
  if (!p) return;
  u32 length = TCP_HEADER_BYTES + (mss ? 4 : 0);
  memcpy(p, to->payload + 2, 2);
  memcpy(p + 2, to->payload, 2);
  put32(p + 4, seq);
  put32(p + 8, ack);
  p[12] = (u8)(length << 2);
  p[13] = flags;
  put16(p + 14, window);
  if (mss) put32(p + 20, 0x02040000u | mss);
  finish_segment(p, to->source, length);
}

// Sends `length` bytes of `out` from sequence number `seq`; false when the ring is full.
static bool send_segment(struct tcp_connection *c, u32 seq, u32 length, u8 flags) {
  u8 *p = ip_packet(c->peer_mac, c->peer_ip, PROTOCOL_TCP);
  if (!p) return false;
  u32 window = IN_BYTES - c->in_length;
  put16(p, config.port);
  put16(p + 2, c->peer_port);
  put32(p + 4, seq);
  put32(p + 8, c->expected);
  p[12] = TCP_HEADER_BYTES << 2;
  p[13] = flags | TCP_ACK;
  put16(p + 14, (u16)window);
  if (length) memcpy(p + TCP_HEADER_BYTES, c->out + (seq - c->una), length);
  finish_segment(p, c->peer_ip, TCP_HEADER_BYTES + length);
  c->advertised_end = c->expected + window;
  c->ack_wanted = false;
  return true;
}

void tcp_acknowledge(struct tcp_connection *c) { send_segment(c, c->next, 0, 0); }

static void start_timer(struct tcp_connection *c) { c->timer_ns = clock_now_ns() + c->rto_ms * NS_PER_MS; }

static bool fin_sent(const struct tcp_connection *c) { return c->state == TCP_LAST_ACK || c->state == TCP_FIN_WAIT_1 || c->state == TCP_CLOSING; }

void tcp_output(struct tcp_connection *c) {
  if (c->state == TCP_FREE || c->state == TCP_TIME_WAIT || c->state == TCP_FIN_WAIT_2) return;
  for (;;) {
    u32 in_flight = c->next - c->una;
    u32 allowed = (u32)min_u64(c->cwnd, c->window);
    if (in_flight > c->out_length) break;  // the FIN is out
    u32 left = c->out_length - in_flight;
    u32 length = (u32)min_u64(left, c->mss);
    bool last = c->fin_wanted && length == left;
    if (in_flight + length > allowed && length) {
      // A piece goes only when nothing is under way (else the next ACK opens the window further).
      length = in_flight < allowed && in_flight == 0 ? allowed : 0;
      last = false;
      if (!length) break;
    }
    if (!length && !last) break;
    u8 flags = (u8)((length == left && length ? TCP_PSH : 0) | (last ? TCP_FIN : 0));
    if (!send_segment(c, c->next, length, flags)) {
      if (!c->timer_ns) c->timer_ns = clock_now_ns() + NS_PER_MS;  // ring full: soon again
      return;
    }
    if (seq_before(c->next, c->high)) tcp_counters.retransmitted++;
    else if (!c->rtt_start_ns && length) {
      c->rtt_start_ns = clock_now_ns();
      c->rtt_seq = c->next + length;
    }
    c->next += length + (last ? 1 : 0);
    if (seq_before(c->high, c->next)) c->high = c->next;
    if (last && !fin_sent(c)) c->state = c->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT_1;
    if (!c->timer_ns) start_timer(c);
  }
  // Nothing under way and the window shut: the timer becomes the window probe's.
  if (c->next == c->una && (c->out_length || c->fin_wanted) && !c->timer_ns) start_timer(c);
}

void tcp_retransmit_first(struct tcp_connection *c) {
  u32 length = (u32)min_u64(c->out_length, c->mss);
  bool fin = fin_sent(c) && length == c->out_length;
  if (length || fin) send_segment(c, c->una, length, fin ? TCP_FIN : 0);
  c->rtt_start_ns = 0;
  tcp_counters.retransmitted++;
}

static void measure_rtt(struct tcp_connection *c, u32 ack) {
  if (!c->rtt_start_ns || seq_before(ack, c->rtt_seq)) return;
  u32 us = (u32)((clock_now_ns() - c->rtt_start_ns) / 1000);
  c->rtt_start_ns = 0;
  if (c->srtt_us == 0) {
    c->srtt_us = us | 1;
    c->rttvar_us = us / 2;
  } else {
    u32 difference = us > c->srtt_us ? us - c->srtt_us : c->srtt_us - us;
    c->rttvar_us = (3 * c->rttvar_us + difference) / 4;
    c->srtt_us = (7 * c->srtt_us + us) / 8 | 1;
  }
}

static void settle_rto(struct tcp_connection *c) {
  u32 ms = c->srtt_us ? (c->srtt_us + 4 * c->rttvar_us) / 1000 : 1000;
  c->rto_ms = (u32)max_u64(RTO_MIN_MS, min_u64(ms, RTO_MAX_MS));
}

void tcp_acknowledged(struct tcp_connection *c, u32 ack) {
  u32 acked = ack - c->una;
  u32 data = (u32)min_u64(acked, c->out_length);
  measure_rtt(c, ack);
  settle_rto(c);
  c->retries = 0;
  c->out += data;
  c->out_length -= data;
  if (c->out_length == 0) {
    arena_give(&net_arena, c->out_memory);
    c->out_memory = c->out = NULL;
  }
  c->una = ack;
  if (seq_before(c->next, ack)) c->next = ack;
  if (c->recovering && seq_before(ack, c->recover)) {
    tcp_retransmit_first(c);  // a partial ACK tells of the next loss
  } else {
    if (c->recovering) c->cwnd = c->ssthresh;
    c->recovering = false;
    c->cwnd += c->cwnd < c->ssthresh ? (u32)min_u64(acked, c->mss) : (u32)max_u64(1, (u64)c->mss * c->mss / c->cwnd);
    if (c->cwnd > 1 << 20) c->cwnd = 1 << 20;
  }
  c->duplicate_acks = 0;
  c->timer_ns = 0;
  if (c->next != c->una) start_timer(c);
}

static void retransmission_due(struct tcp_connection *c) {
  bool probing = c->next == c->una && c->window == 0;
  if (c->next == c->una && c->window != 0) {  // the ring was full
    c->timer_ns = 0;
    tcp_output(c);
    return;
  }
  if (++c->retries > RETRIES_MAX) {
    tcp_counters.timed_out++;
    tcp_abort(c);
    return;
  }
  c->rto_ms = (u32)min_u64((u64)c->rto_ms * 2, RTO_MAX_MS);
  c->rtt_start_ns = 0;
  if (probing || c->window == 0) {
    // A shut window is probed with one byte (RFC 9293, 3.8.6.1) that counts as sent.
    u32 length = c->out_length ? 1 : 0;
    bool fin = !length && c->fin_wanted;
    if (send_segment(c, c->una, length, fin ? TCP_FIN : 0)) {
      u32 end = c->una + length + (fin ? 1 : 0);
      if (fin && !fin_sent(c)) c->state = c->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT_1;
      if (seq_before(c->high, end)) c->high = end;
      if (seq_before(c->next, end)) c->next = end;
    }
    start_timer(c);
    return;
  }
  c->ssthresh = (u32)max_u64((c->next - c->una) / 2, 2 * c->mss);
  c->cwnd = c->mss;
  c->recovering = false;
  c->duplicate_acks = 0;
  c->next = c->una;
  c->timer_ns = 0;
  tcp_output(c);
  if (!c->timer_ns) start_timer(c);
}

u64 tcp_timers(u64 now) {
  u64 soonest = UINT64_MAX;
  for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
    struct tcp_connection *c = &tcp_connections[i];
    if (c->state == TCP_FREE) continue;
    if (c->timer_ns && c->timer_ns <= now) {
      if (c->state == TCP_TIME_WAIT) tcp_free(c);
      else retransmission_due(c);
    }
    if (c->state != TCP_FREE && c->expires_ns && c->expires_ns <= now) {
      c->expires_ns = 0;
      http_expired(c);
    }
    if (c->state == TCP_FREE) continue;
    if (c->timer_ns) soonest = min_u64(soonest, c->timer_ns);
    if (c->expires_ns) soonest = min_u64(soonest, c->expires_ns);
  }
  return soonest;
}
