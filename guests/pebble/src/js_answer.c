// One request through the function: arguments in, verdict and answer out.
#include "console.h"
#include "config.h"
#include "js_engine.h"
#include "tcp.h"
#include <stdio.h>

struct call { struct tcp_connection *c; const struct http_head *head; const u8 *body; u32 body_length; };

static void push_slice(duk_context *context, struct slice s) { js_push_text(context, s.at, s.length); }

static void push_headers(duk_context *context, const struct http_head *head) {
  duk_push_bare_object(context);  // no prototype: a header named __proto__ is a header
  for (u32 i = 0; i < head->header_count; i++) {
    char name[128];
    struct slice s = head->headers[i].name;
    if (s.length >= sizeof name) continue;
    for (u32 j = 0; j < s.length; j++) name[j] = (char)(s.at[j] >= 'A' && s.at[j] <= 'Z' ? s.at[j] | 32 : s.at[j]);
    if (duk_get_prop_lstring(context, -1, name, s.length)) {
      duk_push_string(context, ", ");
      push_slice(context, head->headers[i].value);
      duk_concat(context, 3);
    } else {
      duk_pop(context);
      push_slice(context, head->headers[i].value);
    }
    duk_put_prop_lstring(context, -2, name, s.length);
  }
}

// dispatch(method, path, query, headers, body, remote, contentType) answers {status, type, headers, body, problem}.
static duk_ret_t call_step(duk_context *context, void *argument) {
  const struct call *call = argument;
  duk_push_global_stash(context);
  duk_get_prop_string(context, -1, "dispatch");
  push_slice(context, call->head->method);
  push_slice(context, call->head->path);
  if (call->head->has_query) push_slice(context, call->head->query);
  else duk_push_undefined(context);
  push_headers(context, call->head);
  js_push_text(context, call->body, call->body_length);
  u32 ip = call->c->peer_ip;
  duk_push_sprintf(context, "%u.%u.%u.%u:%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255, call->c->peer_port);
  duk_call(context, 6);
  return 1;
}

static const char *text_property(duk_context *context, const char *name, u32 *length) {
  duk_size_t size = 0;
  duk_get_prop_string(context, 0, name);
  const char *text = duk_get_lstring(context, -1, &size);
  *length = (u32)size;
  return text;
}

static void respond(struct tcp_connection *c, const struct http_head *head) {
  duk_context *context = js_context;
  struct http_answer answer = {0};
  u32 type_length, problem_length;
  duk_get_prop_string(context, 0, "status");
  answer.status = duk_get_int(context, -1);
  const char *problem = text_property(context, "problem", &problem_length);
  if (problem) {
    http_respond_problem(c, answer.status, http_reason(answer.status), problem, problem_length);
    return;
  }
  answer.content_type = text_property(context, "type", &type_length);
  answer.extra_headers = text_property(context, "headers", &answer.extra_length);
  duk_get_prop_string(context, 0, "body");
  duk_size_t size = 0;
  answer.engine_text = duk_is_string(context, -1);
  answer.body = answer.engine_text ? (const u8 *)duk_get_lstring(context, -1, &size) : duk_get_buffer_data(context, -1, &size);
  answer.body_length = (u32)size;
  http_respond(c, &answer, slice_is(head->method, "HEAD"));
}

static void fail(struct tcp_connection *c, int status, const char *title, const char *detail) {
  http_respond_problem(c, status, title, detail, (u32)strlen(detail));
}

void js_answer(struct tcp_connection *c, const struct http_head *head, const u8 *body, u32 body_length) {
  struct call call = {c, head, body, body_length};
  enum js_verdict verdict = js_run(call_step, &call, config.timeout_ms);
  char detail[600];
  switch (verdict) {
    case JS_DONE:
      respond(c, head);
      break;
    case JS_THREW:
      js_counters.errors++;
      say_for_function("error", js_error_stack, strlen(js_error_stack));
      fail(c, 500, "function failed", js_error_text);
      break;
    case JS_TIMED_OUT:
      js_counters.timeouts++;
      snprintf(detail, sizeof detail, "the function ran longer than %u ms and was stopped", config.timeout_ms);
      say("%s", detail);
      if (js_error_stack[0]) say_for_function("error", js_error_stack, strlen(js_error_stack));
      fail(c, 503, "function timed out", detail);
      break;
    case JS_OUT_OF_MEMORY:
      js_counters.out_of_memory++;
      say("the function's heap is full: %s", js_error_text);
      fail(c, 503, "function out of memory", "the function's heap is full");
      duk_set_top(js_context, 0);
      if (js_heap_is_stuck()) js_restart("heap full");
      return;
    case JS_BROKEN:
      js_counters.timeouts++;
      fail(c, 503, "function stopped", js_error_text);
      js_restart(js_error_text);
      return;
  }
  duk_set_top(js_context, 0);
}
