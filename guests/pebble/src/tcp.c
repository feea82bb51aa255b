// The connection table, and what the layer above calls.
#include "tcp.h"
#include "clock.h"
#include "config.h"
#include "memory.h"

struct tcp_counters tcp_counters;
struct tcp_connection tcp_connections[CONNECTIONS_MAX];

struct tcp_connection *tcp_find(u32 ip, u16 port) {
  for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
    struct tcp_connection *c = &tcp_connections[i];
    if (c->state != TCP_FREE && c->peer_ip == ip && c->peer_port == port) return c;
  }
  return NULL;
}

unsigned tcp_open_count(void) {
  unsigned count = 0;
  for (unsigned i = 0; i < CONNECTIONS_MAX; i++) count += tcp_connections[i].state != TCP_FREE;
  return count;
}

// Who goes first when the table is full: those that only wait out their end, then those that ask for nothing, then
// the one that has been silent longest. One whose request is being answered stays.
static u64 eviction_order(const struct tcp_connection *c) {
  u64 class = c->state == TCP_TIME_WAIT ? 0 : c->state != TCP_ESTABLISHED ? 1 : http_is_idle(c) ? 2 : 3;
  return class << 60 | (c->active_ns & ((1ull << 60) - 1));
}

// Ends the connection that is missed least, other than `keep`; NULL when each of them is being answered.
static struct tcp_connection *evict(const struct tcp_connection *keep) {
  struct tcp_connection *victim = NULL;
  for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
    struct tcp_connection *c = &tcp_connections[i];
    if (c->state == TCP_FREE || c == keep || http_is_busy(c)) continue;
    if (!victim || eviction_order(c) < eviction_order(victim)) victim = c;
  }
  if (!victim) return NULL;
  tcp_counters.evicted++;
  tcp_abort(victim);
  return victim;
}

struct tcp_connection *tcp_take_slot(void) {
  for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
    if (tcp_connections[i].state == TCP_FREE) return &tcp_connections[i];
  return evict(NULL);
}

void *tcp_memory(struct tcp_connection *c, void *old, u64 size) {
  for (;;) {
    void *p = arena_resize(&net_arena, old, size);
    // For a piece that large nobody else should go.
    if (p || size > net_arena.limit_bytes / 4 || !evict(c)) return p;
  }
}

void tcp_free(struct tcp_connection *c) {
  http_gone(c);
  arena_give(&net_arena, c->out_memory);
  arena_give(&net_arena, c->in);
  memset(c, 0, sizeof *c);
}

static void send_reset(struct tcp_connection *c) {
  u8 ports[4];
  struct ip_packet to = {.source_mac = c->peer_mac, .source = c->peer_ip, .payload = ports};
  put16(ports, c->peer_port);
  put16(ports + 2, config.port);
  tcp_send_raw(&to, c->next, c->expected, TCP_RST | TCP_ACK, 0, 0);
}

void tcp_abort(struct tcp_connection *c) {
  if (c->state == TCP_FREE) return;
  if (c->state != TCP_TIME_WAIT) send_reset(c);
  tcp_free(c);
}

u32 tcp_read(struct tcp_connection *c, u8 *to, u32 max) {
  u32 length = (u32)min_u64(c->in_length, max), first = (u32)min_u64(length, IN_BYTES - c->in_start);
  memcpy(to, c->in + c->in_start, first);
  memcpy(to + first, c->in, length - first);
  c->in_start = (c->in_start + length) % IN_BYTES;
  c->in_length -= length;
  // Tell of the room once it is worth a segment (RFC 9293, 3.8.6.2.2).
  u32 edge = c->expected + IN_BYTES - c->in_length;
  if (length && edge - c->advertised_end >= IN_BYTES / 2) c->ack_wanted = true;
  return length;
}

void tcp_unread(struct tcp_connection *c, u32 length) {
  c->in_start = (c->in_start + IN_BYTES - length) % IN_BYTES;
  c->in_length += length;
}

bool tcp_write(struct tcp_connection *c, u8 *memory, u32 length) {
  if (c->fin_wanted || c->state == TCP_FREE) {
    arena_give(&net_arena, memory);
    return false;
  }
  if (c->out_length == 0) {
    arena_give(&net_arena, c->out_memory);
    c->out_memory = c->out = memory;
  } else {
    u8 *joined = tcp_memory(c, NULL, (u64)c->out_length + length);
    if (joined) {
      memcpy(joined, c->out, c->out_length);
      memcpy(joined + c->out_length, memory, length);
    }
    arena_give(&net_arena, memory);
    if (!joined) return false;
    arena_give(&net_arena, c->out_memory);
    c->out_memory = c->out = joined;
  }
  c->out_length += length;
  tcp_output(c);
  return true;
}

void tcp_close(struct tcp_connection *c) {
  c->fin_wanted = c->discard = true;
  u32 unread = c->in_length;
  c->in_start = (c->in_start + unread) % IN_BYTES;
  c->in_length = 0;
  if (unread) c->ack_wanted = true;
  tcp_output(c);
}

void tcp_flush(void) {
  for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
    if (tcp_connections[i].state != TCP_FREE && tcp_connections[i].ack_wanted) tcp_acknowledge(&tcp_connections[i]);
}
