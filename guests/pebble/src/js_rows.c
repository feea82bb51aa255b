// POST /readings: JSON lines, a JSON array or CSV (RFC 4180) into an array of objects. Errors are SyntaxErrors; the line
// that was being read can be asked for.
#include "js_engine.h"
#include <stdlib.h>

enum { COLUMNS_MAX = 64, NUMBER_MAX_CHARS = 40 };

struct cursor { const char *at, *end; };
static u32 current_line;

// A decimal number that fills the whole span. Up to 15 digits and 22 decimals the division is exact.
static bool read_number(const char *at, size_t length, double *out) {
  static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  if (length == 0 || length >= NUMBER_MAX_CHARS) return false;
  const char *p = at, *end = at + length;
  bool negative = *p == '-';
  if (*p == '-' || *p == '+') p++;
  u64 digits = 0;
  int count = 0, decimals = 0;
  bool point = false, exponent = false;
  for (; p < end; p++) {
    if (*p >= '0' && *p <= '9') {
      digits = digits * 10 + (u64)(*p - '0');
      count++;
      decimals += point;
    } else if (*p == '.' && !point) {
      point = true;
    } else {
      exponent = (*p | 32) == 'e' && count > 0;
      break;
    }
  }
  if (count == 0 || (p < end && !exponent)) return false;
  if (!exponent && count <= 15) {
    double value = (double)digits / powers[decimals];
    *out = negative ? -value : value;
    return true;
  }
  char copy[NUMBER_MAX_CHARS], *stop;
  memcpy(copy, at, length);
  copy[length] = 0;
  *out = strtod(copy, &stop);
  return stop == copy + length;
}

// One field is pushed as it is; a quoted one without its quotes. Answers whether it was quoted.
static bool push_quoted(duk_context *context, struct cursor *c) {
  if (c->at == c->end || *c->at != '"') return false;
  const char *from = ++c->at;
  duk_idx_t parts = 0;
  for (;;) {
    const char *quote = memchr(c->at, '"', (size_t)(c->end - c->at));
    if (!quote) (void)duk_error(context, DUK_ERR_SYNTAX_ERROR, "a quote is not closed");
    for (const char *p = c->at; p < quote; p++) current_line += *p == '\n';
    bool doubled = quote + 1 < c->end && quote[1] == '"';
    duk_push_lstring(context, from, (duk_size_t)(quote - from) + doubled);
    duk_require_stack(context, 2);
    parts++;
    c->at = from = quote + 1 + doubled;
    if (!doubled) break;
  }
  duk_concat(context, parts);
  return true;
}

static const char *field_end(const struct cursor *c) {
  const char *p = c->at;
  while (p < c->end && *p != ',' && *p != '\n' && *p != '\r') p++;
  return p;
}

static void push_field(duk_context *context, struct cursor *c, bool numbers) {
  if (!push_quoted(context, c)) {
    const char *end = field_end(c), *from = c->at;
    c->at = end;
    while (from < end && (*from == ' ' || *from == '\t')) from++;
    while (end > from && (end[-1] == ' ' || end[-1] == '\t')) end--;
    double number;
    if (numbers && from == end) duk_push_null(context);
    else if (numbers && read_number(from, (size_t)(end - from), &number)) duk_push_number(context, number);
    else duk_push_lstring(context, from, (duk_size_t)(end - from));
  }
  if (c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r')
    (void)duk_error(context, DUK_ERR_SYNTAX_ERROR, "text after a closing quote");
}

// Behind a field: true when another follows in this row; else the line's end is taken.
static bool next_field(struct cursor *c) {
  if (c->at < c->end && *c->at == ',') {
    c->at++;
    return true;
  }
  if (c->at < c->end && *c->at == '\r') c->at++;
  if (c->at < c->end && *c->at == '\n') c->at++;
  current_line++;
  return false;
}

static bool skip_empty_lines(struct cursor *c) {
  while (c->at < c->end && (*c->at == '\n' || *c->at == '\r')) {
    current_line += *c->at == '\n';
    c->at++;
  }
  return c->at < c->end;
}

static void push_csv(duk_context *context, struct cursor c) {
  duk_idx_t rows = duk_push_array(context), names = rows + 1;
  duk_uarridx_t count = 0;
  duk_idx_t columns = 0;
  duk_require_stack(context, COLUMNS_MAX + 16);
  if (!skip_empty_lines(&c)) return;
  do {
    if (columns++ == COLUMNS_MAX) (void)duk_error(context, DUK_ERR_SYNTAX_ERROR, "more than %d columns", COLUMNS_MAX);
    push_field(context, &c, false);
  } while (next_field(&c));
  while (skip_empty_lines(&c)) {
    duk_idx_t column = 0, row = duk_push_object(context);
    u32 line = current_line;
    do {
      if (column == columns) (void)duk_error(context, DUK_ERR_SYNTAX_ERROR, "more fields than the header has");
      duk_dup(context, names + column++);
      push_field(context, &c, true);
      duk_put_prop(context, row);
    } while (next_field(&c));
    if (column < columns) {
      current_line = line;
      (void)duk_error(context, DUK_ERR_SYNTAX_ERROR, "%ld fields, the header has %ld", (long)column, (long)columns);
    }
    duk_put_prop_index(context, rows, count++);
  }
  duk_set_top(context, rows + 1);
}

static void require_object(duk_context *context) {
  if (!duk_is_object(context, -1) || duk_is_array(context, -1)) (void)duk_error(context, DUK_ERR_SYNTAX_ERROR, "not a JSON object");
}

static void push_json_lines(duk_context *context, struct cursor c) {
  duk_uarridx_t count = 0;
  duk_push_array(context);
  for (; c.at < c.end; current_line++) {
    const char *end = memchr(c.at, '\n', (size_t)(c.end - c.at)), *from = c.at;
    if (!end) end = c.end;
    c.at = end < c.end ? end + 1 : end;
    while (from < end && (*from == ' ' || *from == '\t' || *from == '\r')) from++;
    if (from == end) continue;
    duk_push_lstring(context, from, (duk_size_t)(end - from));
    duk_json_decode(context, -1);
    require_object(context);
    duk_put_prop_index(context, -2, count++);
  }
}

static void push_json_array(duk_context *context, struct cursor c) {
  duk_push_lstring(context, c.at, (duk_size_t)(c.end - c.at));
  duk_json_decode(context, -1);
  if (!duk_is_array(context, -1)) {  // one object is one row
    require_object(context);
    duk_push_array(context);
    duk_insert(context, -2);
    duk_put_prop_index(context, -2, 0);
    return;
  }
  duk_uarridx_t length = (duk_uarridx_t)duk_get_length(context, -1);
  for (duk_uarridx_t i = 0; i < length; i++) {
    current_line = i + 1;
    duk_get_prop_index(context, -1, i);
    require_object(context);
    duk_pop(context);
  }
}

// rows(text, kind): kind is 'lines', 'json', 'csv' or '' (by the first character).
duk_ret_t js_native_rows(duk_context *context) {
  duk_size_t length;
  const char *text = duk_require_lstring(context, 0, &length), *kind = duk_require_string(context, 1);
  struct cursor c = {text, text + length};
  current_line = 1;
  if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) c.at += 3;  // byte order mark
  const char *first = c.at;
  while (first < c.end && (*first == ' ' || *first == '\t' || *first == '\r' || *first == '\n')) first++;
  if (!*kind) kind = first == c.end ? "csv" : *first == '[' ? "json" : *first == '{' ? "lines" : "csv";
  if (*kind == 'j') push_json_array(context, c);
  else if (*kind == 'l') push_json_lines(context, c);
  else push_csv(context, c);
  return 1;
}

duk_ret_t js_native_row_line(duk_context *context) {
  duk_push_uint(context, current_line);
  return 1;
}
