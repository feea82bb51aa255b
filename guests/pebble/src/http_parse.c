// Reads a request head (RFC 9112, 2 to 6) without changing it. Strict where leniency has let requests be smuggled:
// both or differing lengths, folded lines, bare line feeds, blanks before a colon are refused.
#include "http.h"

static bool is_token_char(u8 c) {
  if ((c | 32) >= 'a' && (c | 32) <= 'z') return true;
  return (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct slice s) {
  for (u32 i = 0; i < s.length; i++)
    if (!is_token_char(s.at[i])) return false;
  return s.length > 0;
}

bool slice_is(struct slice s, const char *text) { return s.length == strlen(text) && memcmp(s.at, text, s.length) == 0; }

bool slice_is_ignoring_case(struct slice s, const char *text) {
  if (s.length != strlen(text)) return false;
  for (u32 i = 0; i < s.length; i++) {
    u8 a = s.at[i], b = (u8)text[i];
    if (a != b && !((a ^ b) == 32 && (a | 32) >= 'a' && (a | 32) <= 'z')) return false;
  }
  return true;
}

static struct slice until(struct slice *rest, u8 end) {
  const u8 *at = memchr(rest->at, end, rest->length);
  u32 length = at ? (u32)(at - rest->at) : rest->length;
  struct slice part = {rest->at, length};
  rest->at += length + (at ? 1 : 0);
  rest->length -= length + (at ? 1 : 0);
  return part;
}

static int parse_target(struct slice target, struct http_head *head) {
  for (u32 i = 0; i < target.length; i++)
    if (target.at[i] <= 0x20 || target.at[i] >= 0x7f || target.at[i] == '#') return 400;
  struct slice scheme = {target.at, target.length < 7 ? target.length : 7};
  if (slice_is_ignoring_case(scheme, "http://")) {  // absolute form: a server must take it
    target.at += 7;
    target.length -= 7;
    while (target.length && *target.at != '/' && *target.at != '?') target.at++, target.length--;
    if (!target.length || *target.at == '?') return 400;
  }
  if (!target.length || target.at[0] != '/') return 400;
  head->has_query = memchr(target.at, '?', target.length) != NULL;
  head->path = until(&target, '?');
  head->query = target;
  return 0;
}

static int parse_request_line(struct slice line, struct http_head *head) {
  head->method = until(&line, ' ');
  struct slice target = until(&line, ' ');
  if (!is_token(head->method) || head->method.length > 32) return 400;
  if (line.length != 8 || memcmp(line.at, "HTTP/", 5) != 0) return 400;
  if (slice_is(line, "HTTP/1.0")) head->version_1_0 = true;
  else if (!slice_is(line, "HTTP/1.1")) return 505;
  head->keep_alive = !head->version_1_0;
  return parse_target(target, head);
}

static int parse_length(struct slice value, struct http_head *head) {
  u64 length = 0;
  if (value.length == 0 || value.length > 12) return 400;
  for (u32 i = 0; i < value.length; i++) {
    if (value.at[i] < '0' || value.at[i] > '9') return 400;
    length = length * 10 + (u64)(value.at[i] - '0');
  }
  if (head->has_length && head->length != length) return 400;
  head->has_length = true;
  head->length = length;
  return 0;
}

static void parse_connection(struct slice value, struct http_head *head) {
  while (value.length) {
    struct slice option = until(&value, ',');
    while (option.length && (*option.at == ' ' || *option.at == '\t')) option.at++, option.length--;
    while (option.length && (option.at[option.length - 1] == ' ' || option.at[option.length - 1] == '\t')) option.length--;
    if (slice_is_ignoring_case(option, "close")) head->keep_alive = false;
    if (slice_is_ignoring_case(option, "keep-alive") && head->version_1_0) head->keep_alive = true;
  }
}

static int parse_header(struct slice line, struct http_head *head, u32 *hosts) {
  struct slice name = until(&line, ':'), value = line;
  if (!is_token(name) || name.at + name.length == line.at) return 400;
  while (value.length && (*value.at == ' ' || *value.at == '\t')) value.at++, value.length--;
  while (value.length && (value.at[value.length - 1] == ' ' || value.at[value.length - 1] == '\t')) value.length--;
  for (u32 i = 0; i < value.length; i++)
    if ((value.at[i] < 0x20 && value.at[i] != '\t') || value.at[i] == 0x7f) return 400;
  if (head->header_count == HEADERS_MAX) return 431;
  head->headers[head->header_count].name = name;
  head->headers[head->header_count++].value = value;
  if (slice_is_ignoring_case(name, "content-length")) return parse_length(value, head);
  if (slice_is_ignoring_case(name, "transfer-encoding")) {
    if (head->chunked) return 400;
    if (head->version_1_0 || !slice_is_ignoring_case(value, "chunked")) return 501;
    head->chunked = true;
  }
  if (slice_is_ignoring_case(name, "connection")) parse_connection(value, head);
  if (slice_is_ignoring_case(name, "host")) (*hosts)++;
  if (slice_is_ignoring_case(name, "expect")) {
    if (!slice_is_ignoring_case(value, "100-continue")) return 417;
    head->expects_continue = !head->version_1_0;
  }
  return 0;
}

int http_parse_head(const u8 *bytes, u32 length, struct http_head *head) {
  memset(head, 0, offsetof(struct http_head, headers));
  head->header_count = 0;
  struct slice rest = {bytes, length};
  u32 lines = 0, hosts = 0;
  while (rest.length) {
    struct slice line = until(&rest, '\n');
    if (line.length == 0 || line.at[line.length - 1] != '\r') return 400;
    line.length--;
    if (memchr(line.at, '\r', line.length)) return 400;
    if (line.length == 0) break;
    int status = lines++ == 0 ? parse_request_line(line, head) : parse_header(line, head, &hosts);
    if (status) return status;
  }
  if (lines == 0 || (head->chunked && head->has_length)) return 400;
  if (hosts > 1 || (hosts == 0 && !head->version_1_0)) return 400;
  return 0;
}
