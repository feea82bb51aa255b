// What the prelude is given by the kernel: log(level, text), rows(text, kind), rowLine(), env; and text conversion.
#include "config.h"
#include "console.h"
#include "js_engine.h"
#include "text.h"

static const char *const levels[] = {"debug", "info", "warn", "error"};

static duk_ret_t native_log(duk_context *context) {
  static u8 out[8192];
  duk_size_t length;
  duk_int_t level = duk_require_int(context, 0);
  const u8 *text = (const u8 *)duk_require_lstring(context, 1, &length);
  if (length > sizeof out) length = sizeof out;  // UTF-8 is never longer than the engine's text
  u64 size = text_to_utf8(out, text, length);
  say_for_function(levels[level & 3], (const char *)out, size);
  return 0;
}

void js_push_text(duk_context *context, const u8 *bytes, u64 length) {
  if (length == 0 || text_is_ascii(bytes, length)) {
    duk_push_lstring(context, (const char *)bytes, length);
    return;
  }
  u8 *room = duk_push_fixed_buffer(context, length * 3);
  duk_push_lstring(context, (const char *)room, text_from_utf8(room, bytes, length));
  duk_remove(context, -2);
}

void js_push_native(duk_context *context) {
  static const duk_function_list_entry functions[] = {
      {"log", native_log, 2}, {"rows", js_native_rows, 2}, {"rowLine", js_native_row_line, 0}, {NULL, NULL, 0}};
  duk_push_object(context);
  duk_put_function_list(context, -1, functions);
  duk_push_object(context);
  for (unsigned i = 0; i < config.env_count; i++) {
    js_push_text(context, (const u8 *)config.env_value[i], strlen(config.env_value[i]));
    duk_put_prop_string(context, -2, config.env_key[i]);
  }
  duk_put_prop_string(context, -2, "env");
}

// Dates that ISO 8601 doesn't cover: YYYY/MM/DD with an optional HH:MM[:SS], in UTC. 1: the result is on the stack.
int js_parse_date(void *context, const char *text) {
  int part[6] = {0, 1, 1, 0, 0, 0};
  static const char separators[] = "// ::";
  const char *p = text;
  int count = 0;
  for (; count < 6; count++) {
    int digits = 0, value = 0;
    for (; *p >= '0' && *p <= '9' && digits < 4; p++, digits++) value = value * 10 + (*p - '0');
    if (digits == 0) return 0;
    part[count] = value;
    if (*p == 0) break;
    if (count == 5 || (*p != separators[count] && !(count == 2 && *p == 'T'))) return 0;
    p++;
  }
  if (count < 2 || count == 3 || *p) return 0;
  if (part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > 31 || part[3] > 24 || part[4] > 59 || part[5] > 59) return 0;
  duk_time_components c = {0};
  c.year = part[0];
  c.month = part[1] - 1;
  c.day = part[2];
  c.hours = part[3];
  c.minutes = part[4];
  c.seconds = part[5];
  duk_push_number(context, duk_components_to_time(context, &c));
  return 1;
}
