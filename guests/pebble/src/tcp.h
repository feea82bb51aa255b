// TCP (RFC 9293) for a server: many connections to one port.
//
//   (SYN, answered by a cookie, no state) -> ESTABLISHED -> CLOSE_WAIT -> LAST_ACK -> gone
//                                                |
//                                                +-> FIN_WAIT_1 -> FIN_WAIT_2 -> TIME_WAIT -> gone
//                                                        +-> CLOSING ----------------^
//
// The layer above owns what is read and written; it is told of events by the tcp_on_* functions (http.c).
#pragma once
#include "http.h"
#include "ip.h"

enum { CONNECTIONS_MAX = 64, IN_BYTES = 8192, GAPS_MAX = 4 };

enum tcp_state { TCP_FREE, TCP_ESTABLISHED, TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_FIN_WAIT_1, TCP_FIN_WAIT_2, TCP_CLOSING, TCP_TIME_WAIT };

struct tcp_connection {
  enum tcp_state state;
  u32 peer_ip;
  u16 peer_port;
  u8 peer_mac[6];

  // Sending: `out` holds what is not acknowledged yet, out[0] has sequence number `una`.
  u8 *out_memory, *out;
  u32 out_length;
  u32 una, next, high;        // oldest unacknowledged, next to send, end of what was ever sent
  u32 window, window_seq, window_ack;
  u32 mss, cwnd, ssthresh, recover;
  u8 duplicate_acks;
  bool recovering, fin_wanted;
  u32 rto_ms, srtt_us, rttvar_us, retries;
  u32 rtt_seq;
  u64 rtt_start_ns;           // 0: no segment is being timed
  u64 timer_ns;               // retransmission or window probe; 0: none

  // Receiving: a ring; bytes beyond `expected` may lie in it already: the spans in `held`.
  u8 *in;
  u32 in_start, in_length;
  u32 expected, advertised_end;
  struct { u32 from, to; } held[GAPS_MAX];
  unsigned held_count;
  bool fin_seen, ack_wanted, discard;

  u64 active_ns;              // last time the peer made progress
  u64 expires_ns;             // set by the layer above; 0: never
  struct http_exchange http;
};

struct tcp_counters { u64 syn, accepted, refused, evicted, retransmitted, bad_checksum, malformed, reset, timed_out, no_memory; };
extern struct tcp_counters tcp_counters;
extern struct tcp_connection tcp_connections[CONNECTIONS_MAX];

void tcp_input(const struct ip_packet *packet);
// Sends the acknowledgements that no data has carried.
void tcp_flush(void);
// Runs what is due; answers when the next is (UINT64_MAX: never).
u64 tcp_timers(u64 now_ns);
unsigned tcp_open_count(void);

// Copies up to `max` received bytes out.
u32 tcp_read(struct tcp_connection *c, u8 *to, u32 max);
// Puts back the last `length` bytes of a read that has just been made.
void tcp_unread(struct tcp_connection *c, u32 length);
// Queues `length` bytes; `memory` is net_arena's and now TCP's. False: no memory, nothing queued, `memory` given back.
bool tcp_write(struct tcp_connection *c, u8 *memory, u32 length);
// FIN once everything is out; what the peer still sends is thrown away.
void tcp_close(struct tcp_connection *c);
// RST, and gone.
void tcp_abort(struct tcp_connection *c);

// net_arena's memory for `c` (as realloc). When there is none, others' unfinished business gives way; NULL: even so.
void *tcp_memory(struct tcp_connection *c, void *old, u64 size);

// --- between the files of TCP ---
void tcp_output(struct tcp_connection *c);
void tcp_acknowledge(struct tcp_connection *c);
void tcp_retransmit_first(struct tcp_connection *c);
void tcp_acknowledged(struct tcp_connection *c, u32 ack);
void tcp_send_raw(const struct ip_packet *to, u32 seq, u32 ack, u8 flags, u16 window, u16 mss);
void tcp_free(struct tcp_connection *c);
struct tcp_connection *tcp_find(u32 ip, u16 port);
struct tcp_connection *tcp_take_slot(void);
u32 tcp_cookie(const struct ip_packet *packet, u16 port, u32 peer_seq, u32 mss);
enum cookie_verdict { COOKIE_WRONG, COOKIE_OTHER_SEQ, COOKIE_GOOD };
enum cookie_verdict tcp_cookie_check(const struct ip_packet *packet, u16 port, u32 peer_seq, u32 cookie, u32 *mss);

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16, TCP_HEADER_BYTES = 20, MSS_LOCAL = 1460, RTO_MIN_MS = 200, RTO_MAX_MS = 10000 };
static inline bool seq_before(u32 a, u32 b) { return (s32)(a - b) < 0; }
static inline bool seq_not_after(u32 a, u32 b) { return (s32)(a - b) <= 0; }
