// HTTP/1.1 (RFC 9112) on top of TCP: one request at a time per connection, answered by the kernel or the function.
#pragma once
#include "base.h"

struct tcp_connection;

enum http_phase { HTTP_HEAD, HTTP_BODY, HTTP_CHUNK_SIZE, HTTP_CHUNK_DATA, HTTP_CHUNK_END, HTTP_TRAILER, HTTP_READY, HTTP_CLOSING };
enum { HEAD_MAX_BYTES = 8192, HEADERS_MAX = 48, CHUNK_LINE_MAX = 64, TRAILER_MAX_BYTES = 2048 };

// What a connection is in the middle of.
struct http_exchange {
  enum http_phase phase;
  u8 *head, *body;          // net_arena's
  u32 head_length, head_room, head_end, body_length, body_room;
  u32 scanned;
  u64 left;                 // bytes still to come of the body or chunk
  char line[CHUNK_LINE_MAX];
  u32 line_length, trailer_length;
  bool keep_alive, body_ignored, version_1_0;
};

struct slice { const u8 *at; u32 length; };
// A parsed head; everything points into it.
struct http_head {
  struct slice method, path, query;
  bool has_query, version_1_0, keep_alive, chunked, has_length, expects_continue;
  u64 length;
  struct { struct slice name, value; } headers[HEADERS_MAX];
  u32 header_count;
};
// 0, or the status that says what is wrong with it.
int http_parse_head(const u8 *bytes, u32 length, struct http_head *head);
bool slice_is(struct slice s, const char *text);
bool slice_is_ignoring_case(struct slice s, const char *text);

struct http_counters { u64 requests, function_requests, bytes_in, bytes_out, by_class[6]; };
extern struct http_counters http_counters;

struct http_answer {
  int status;
  const char *content_type;     // NULL: none
  const char *extra_headers;    // whole lines, each ended by CRLF; NULL: none
  u32 extra_length;
  const u8 *body;
  u32 body_length;
  bool engine_text;             // the body is a string of the engine's: see text.h
};

// What TCP tells.
void http_opened(struct tcp_connection *c);
void http_progress(struct tcp_connection *c);
void http_expired(struct tcp_connection *c);
void http_gone(struct tcp_connection *c);
bool http_is_idle(const struct tcp_connection *c);
bool http_is_busy(const struct tcp_connection *c);

// Answers one waiting request; false when there is none.
bool http_run_one(void);
void http_respond(struct tcp_connection *c, const struct http_answer *answer, bool head_only);
void http_respond_problem(struct tcp_connection *c, int status, const char *title, const char *detail, u32 detail_length);
const char *http_reason(int status);
