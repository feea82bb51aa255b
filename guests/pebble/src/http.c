// A connection's way through requests: head, body (by length or in chunks), ready, answered, next.
#include "http.h"
#include "clock.h"
#include "config.h"
#include "js.h"
#include "memory.h"
#include "metrics.h"
#include "tcp.h"

enum { IDLE_SECONDS = 75, REQUEST_SECONDS = 20, WRITE_SECONDS = 60, HEAD_ROOM_FIRST = 1024, BODY_ROOM_FIRST = 4096, UNSENT_MAX_BYTES = 65536 };

struct http_counters http_counters;
static struct http_head head;  // of the request being looked at; rebuilt from the connection's bytes when needed

static void expire_in(struct tcp_connection *c, u64 seconds) { c->expires_ns = clock_now_ns() + seconds * NS_PER_S; }

static void drop_buffers(struct http_exchange *x) {
  arena_give(&net_arena, x->head);
  arena_give(&net_arena, x->body);
  memset(x, 0, sizeof *x);
}

void http_opened(struct tcp_connection *c) { expire_in(c, REQUEST_SECONDS); }
void http_gone(struct tcp_connection *c) { drop_buffers(&c->http); }
bool http_is_idle(const struct tcp_connection *c) { return c->http.phase == HTTP_HEAD && c->http.head_length == 0 && c->out_length == 0; }
bool http_is_busy(const struct tcp_connection *c) { return c->http.phase == HTTP_READY; }

void http_expired(struct tcp_connection *c) {
  if (c->out_length && clock_now_ns() - c->active_ns < WRITE_SECONDS * NS_PER_S) {
    expire_in(c, WRITE_SECONDS);
    return;
  }
  if (http_is_busy(c)) return;
  if (http_is_idle(c) && c->state == TCP_ESTABLISHED) tcp_close(c);
  else tcp_abort(c);
}

// An answer to something that can't be read further: the connection ends after it.
static void reject(struct tcp_connection *c, int status, const char *detail) {
  c->http.keep_alive = false;
  http_counters.requests++;
  http_respond_problem(c, status, http_reason(status), detail, (u32)strlen(detail));
}

static bool grow(struct tcp_connection *c, u8 **memory, u32 *room, u64 wanted) {
  if (wanted <= *room) return true;
  u8 *larger = tcp_memory(c, *memory, wanted);
  if (!larger) return false;
  *memory = larger;
  *room = (u32)wanted;
  return true;
}

static void head_complete(struct tcp_connection *c) {
  struct http_exchange *x = &c->http;
  int status = http_parse_head(x->head, x->head_end, &head);
  if (status) {
    reject(c, status, status == 501 ? "transfer coding not supported" : "malformed or unsupported request head");
    return;
  }
  x->keep_alive = head.keep_alive;
  x->version_1_0 = head.version_1_0;
  x->left = head.length;
  if (head.length > (u64)config.body_kib * 1024) {
    reject(c, 413, "body too large");
    return;
  }
  if (head.expects_continue && (head.chunked || head.length)) {
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    u8 *copy = arena_take(&net_arena, sizeof line - 1);
    if (copy) tcp_write(c, memcpy(copy, line, sizeof line - 1), sizeof line - 1);
  }
  x->phase = head.chunked ? HTTP_CHUNK_SIZE : head.length ? HTTP_BODY : HTTP_READY;
}

static bool read_head(struct tcp_connection *c) {
  struct http_exchange *x = &c->http;
  if (x->head_length == 0) expire_in(c, REQUEST_SECONDS);
  if (x->head_length == x->head_room) {
    u32 room = x->head_room ? x->head_room * 2 : HEAD_ROOM_FIRST;
    if (room > HEAD_MAX_BYTES) {
      reject(c, 431, "request head too large");
      return false;
    }
    if (!grow(c, &x->head, &x->head_room, room)) {
      reject(c, 503, "no memory for the request");
      return false;
    }
  }
  u32 got = tcp_read(c, x->head + x->head_length, x->head_room - x->head_length);
  x->head_length += got;
  // Empty lines before a request are skipped (RFC 9112, 2.2).
  while (x->head_length >= 2 && x->head[0] == '\r' && x->head[1] == '\n') {
    memmove(x->head, x->head + 2, x->head_length - 2);
    x->head_length -= 2;
    x->scanned = 0;
  }
  for (u32 i = x->scanned; i + 4 <= x->head_length; i++) {
    if (memcmp(x->head + i, "\r\n\r\n", 4) != 0) continue;
    x->head_end = i + 4;
    tcp_unread(c, x->head_length - x->head_end);
    x->head_length = x->head_end;
    head_complete(c);
    return true;
  }
  x->scanned = x->head_length > 3 ? x->head_length - 3 : 0;
  return true;
}

// The body's memory grows with what has really come, so that an announcement alone holds none.
static void read_body(struct tcp_connection *c) {
  struct http_exchange *x = &c->http;
  if (x->body_length == x->body_room) {
    u64 whole = x->body_length + x->left, next = max_u64(BODY_ROOM_FIRST, (u64)x->body_room * 2);
    if (!grow(c, &x->body, &x->body_room, min_u64(whole, next))) {
      reject(c, 503, "no memory for the body");
      return;
    }
  }
  u32 got = tcp_read(c, x->body + x->body_length, (u32)min_u64(x->left, x->body_room - x->body_length));
  x->body_length += got;
  x->left -= got;
  expire_in(c, REQUEST_SECONDS);
  if (x->left == 0) x->phase = x->phase == HTTP_BODY ? HTTP_READY : HTTP_CHUNK_END;
}

// A line of chunk framing: true once it is whole, without its CRLF.
static bool read_line(struct tcp_connection *c, bool *bad) {
  struct http_exchange *x = &c->http;
  u32 got = tcp_read(c, (u8 *)x->line + x->line_length, CHUNK_LINE_MAX - 1 - x->line_length);
  char *end = memchr(x->line + x->line_length, '\n', got);
  x->line_length += got;
  if (!end) {
    *bad = x->line_length == CHUNK_LINE_MAX - 1;
    return false;
  }
  u32 line = (u32)(end - x->line);
  tcp_unread(c, x->line_length - line - 1);
  x->line_length = 0;
  *bad = line == 0 || x->line[line - 1] != '\r';
  x->line[line ? line - 1 : 0] = 0;
  return !*bad;
}

static bool chunk_size(const char *line, u64 *size) {
  const char *p = line;
  u64 value = 0;
  for (; p - line < 8; p++) {
    int digit = *p >= '0' && *p <= '9' ? *p - '0' : (*p | 32) >= 'a' && (*p | 32) <= 'f' ? (*p | 32) - 'a' + 10 : -1;
    if (digit < 0) break;
    value = value * 16 + (u64)digit;
  }
  *size = value;
  return p > line && (*p == 0 || *p == ';' || *p == ' ' || *p == '\t');
}

static void read_chunk_framing(struct tcp_connection *c) {
  struct http_exchange *x = &c->http;
  bool bad = false;
  if (!read_line(c, &bad)) {
    if (bad) reject(c, 400, "malformed chunk");
    return;
  }
  if (x->phase == HTTP_TRAILER) {
    x->trailer_length += (u32)strlen(x->line) + 2;
    if (x->line[0] == 0) x->phase = HTTP_READY;
    else if (x->trailer_length > TRAILER_MAX_BYTES) reject(c, 431, "trailer too large");
  } else if (x->phase == HTTP_CHUNK_END) {
    if (x->line[0]) reject(c, 400, "malformed chunk");
    else x->phase = HTTP_CHUNK_SIZE;
  } else if (!chunk_size(x->line, &x->left)) {
    reject(c, 400, "malformed chunk size");
  } else if (x->left == 0) {
    x->phase = HTTP_TRAILER;
  } else if (x->body_length + x->left > (u64)config.body_kib * 1024) {
    reject(c, 413, "body too large");
  } else {
    x->phase = HTTP_CHUNK_DATA;
  }
}

void http_progress(struct tcp_connection *c) {
  struct http_exchange *x = &c->http;
  while (c->in_length && c->out_length < UNSENT_MAX_BYTES) {
    if (x->phase == HTTP_HEAD) {
      if (!read_head(c)) break;
    } else if (x->phase == HTTP_BODY || x->phase == HTTP_CHUNK_DATA) {
      read_body(c);
    } else if (x->phase == HTTP_CHUNK_SIZE || x->phase == HTTP_CHUNK_END || x->phase == HTTP_TRAILER) {
      read_chunk_framing(c);
    } else {
      break;
    }
    if (c->state == TCP_FREE) return;
  }
  // The peer has said all it will: what isn't whole by now never will be.
  bool finished = c->fin_seen && !c->fin_wanted && x->phase != HTTP_READY && (c->in_length == 0 || x->phase == HTTP_CLOSING);
  if (finished) tcp_close(c);
}

static void answer_request(struct tcp_connection *c) {
  struct http_exchange *x = &c->http;
  http_counters.requests++;
  http_counters.bytes_in += x->head_length + x->body_length;
  http_parse_head(x->head, x->head_end, &head);  // it was good before
  bool get = slice_is(head.method, "GET"), head_only = slice_is(head.method, "HEAD");
  bool health = slice_is(head.path, "/healthz"), metrics = slice_is(head.path, "/metrics");
  if ((health || metrics) && !get && !head_only) {
    static const char allow[] = "Allow: GET, HEAD\r\n";
    struct http_answer answer = {.status = 405, .extra_headers = allow, .extra_length = sizeof allow - 1};
    http_respond(c, &answer, false);
  } else if (health) {
    struct http_answer answer = {.status = 200, .content_type = "text/plain; charset=utf-8", .body = (const u8 *)"ok\n", .body_length = 3};
    http_respond(c, &answer, head_only);
  } else if (metrics) {
    metrics_answer(c, head_only);
  } else {
    http_counters.function_requests++;
    js_answer(c, &head, x->body, x->body_length);
  }
}

bool http_run_one(void) {
  static unsigned next;
  for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
    struct tcp_connection *c = &tcp_connections[(next + i) % CONNECTIONS_MAX];
    if (c->state == TCP_FREE || c->http.phase != HTTP_READY) continue;
    next = (next + i + 1) % CONNECTIONS_MAX;
    answer_request(c);
    if (c->state != TCP_FREE) http_progress(c);
    return true;
  }
  return false;
}

// Called by http_answer.c when the answer is queued.
void http_exchange_done(struct tcp_connection *c) {
  bool keep = c->http.keep_alive;
  drop_buffers(&c->http);
  expire_in(c, IDLE_SECONDS);
  if (!keep) {
    c->http.phase = HTTP_CLOSING;
    tcp_close(c);
  }
}
