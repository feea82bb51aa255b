// Between the files of the JavaScript side.
#pragma once
#include "js.h"
#include <duktape.h>

enum js_verdict { JS_DONE, JS_THREW, JS_TIMED_OUT, JS_OUT_OF_MEMORY, JS_BROKEN };

// The engine; NULL while there is none.
extern duk_context *js_context;

// Runs `step` (as duk_safe_call) under a time limit. After JS_DONE its one result is on top of the stack; after JS_THREW and the
// others `js_error_text` and `js_error_stack` tell. JS_BROKEN: the heap must be restarted (js_restart).
enum js_verdict js_run(duk_safe_call_function step, void *argument, u32 limit_ms);
extern char js_error_text[512], js_error_stack[2048];
// Throws the heap away and loads the module anew; ends the guest when the module no longer loads.
void js_restart(const char *reason);
// True when even after a collection the heap is nearly full, so that the next request could not succeed either.
bool js_heap_is_stuck(void);

// js_native.c: what the prelude gets from the kernel, left as one object on the stack.
void js_push_native(duk_context *context);
// A string of any bytes, converted (text.h).
void js_push_text(duk_context *context, const u8 *bytes, u64 length);
// js_rows.c: native.rows(text, kind) and native.rowLine().
duk_ret_t js_native_rows(duk_context *context);
duk_ret_t js_native_row_line(duk_context *context);
