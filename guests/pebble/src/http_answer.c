// Builds answers: one buffer with status line, headers and body, handed to TCP.
#include "clock.h"
#include "memory.h"
#include "tcp.h"
#include "text.h"
#include <stdio.h>

void http_exchange_done(struct tcp_connection *c);

enum { FIXED_HEAD_MAX = 384, DETAIL_MAX_BYTES = 1024 };

const char *http_reason(int status) {
  static const struct { short status; const char *reason; } reasons[] = {
      {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"}, {301, "Moved Permanently"}, {302, "Found"},
      {303, "See Other"}, {304, "Not Modified"}, {307, "Temporary Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"},
      {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"}, {409, "Conflict"}, {410, "Gone"},
      {413, "Content Too Large"}, {415, "Unsupported Media Type"}, {417, "Expectation Failed"},
      {422, "Unprocessable Content"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"}, {501, "Not Implemented"}, {503, "Service Unavailable"},
      {505, "HTTP Version Not Supported"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
    if (reasons[i].status == status) return reasons[i].reason;
  return "Status";
}

void http_respond(struct tcp_connection *c, const struct http_answer *answer, bool head_only) {
  bool bodyless = answer->status == 204 || answer->status == 304;
  u64 body_length = bodyless ? 0 : answer->engine_text ? text_utf8_length(answer->body, answer->body_length) : answer->body_length;
  u64 sent_body = head_only ? 0 : body_length;
  u8 *memory = tcp_memory(c, NULL, FIXED_HEAD_MAX + answer->extra_length + sent_body);
  if (!memory) {
    static const char none[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    memory = tcp_memory(c, NULL, sizeof none - 1);
    http_counters.by_class[5]++;
    tcp_counters.no_memory++;
    if (!memory || !tcp_write(c, memcpy(memory, none, sizeof none - 1), sizeof none - 1)) {
      tcp_abort(c);
      return;
    }
    c->http.keep_alive = false;
    http_exchange_done(c);
    return;
  }
  char *at = (char *)memory, *end = at + FIXED_HEAD_MAX;
  at += snprintf(at, (size_t)(end - at), "HTTP/1.1 %d %s\r\n", answer->status, http_reason(answer->status));
  if (answer->content_type && !bodyless) at += snprintf(at, (size_t)(end - at), "Content-Type: %.200s\r\n", answer->content_type);
  if (!bodyless) at += snprintf(at, (size_t)(end - at), "Content-Length: %llu\r\n", (unsigned long long)body_length);
  if (!c->http.keep_alive) at += snprintf(at, (size_t)(end - at), "Connection: close\r\n");
  else if (c->http.version_1_0) at += snprintf(at, (size_t)(end - at), "Connection: keep-alive\r\n");
  if (answer->extra_length) memcpy(at, answer->extra_headers, answer->extra_length);
  at += answer->extra_length;
  memcpy(at, "\r\n", 2);
  at += 2;
  if (sent_body && answer->engine_text) text_to_utf8((u8 *)at, answer->body, answer->body_length);
  else if (sent_body) memcpy(at, answer->body, sent_body);
  at += sent_body;
  http_counters.by_class[answer->status / 100 % 6]++;
  u32 total = (u32)(at - (char *)memory);
  http_counters.bytes_out += total;
  c->active_ns = clock_now_ns();
  if (tcp_write(c, memory, total)) http_exchange_done(c);
  else tcp_abort(c);
}

static u32 escape_json(char *to, u32 room, const char *text, u32 length) {
  u32 n = 0;
  for (u32 i = 0; i < length && n + 7 < room; i++) {
    u8 byte = (u8)text[i];
    if (byte == '"' || byte == '\\') {
      to[n++] = '\\';
      to[n++] = (char)byte;
    } else if (byte < 0x20) {
      n += (u32)snprintf(to + n, room - n, "\\u%04x", byte);
    } else {
      to[n++] = (char)byte;
    }
  }
  return n;
}

void http_respond_problem(struct tcp_connection *c, int status, const char *title, const char *detail, u32 length) {
  static char body[DETAIL_MAX_BYTES + 256];
  u32 n = (u32)snprintf(body, sizeof body, "{\"title\":\"%.100s\",\"status\":%d,\"detail\":\"", title, status);
  n += escape_json(body + n, (u32)sizeof body - n - 4, detail, (u32)min_u64(length, DETAIL_MAX_BYTES / 2));
  memcpy(body + n, "\"}\n", 3);
  struct http_answer answer = {.status = status, .content_type = "application/problem+json", .body = (u8 *)body, .body_length = n + 3};
  http_respond(c, &answer, false);
}
