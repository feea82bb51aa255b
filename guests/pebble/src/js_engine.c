// Keeps the function inside its limits of time, memory and stack, and throws its heap away when that is the only way.
//
// Three fences: the engine asks every 256 Ki instructions whether time is up (js_is_overdue), and unwinds; a timer's
// interrupt ends native code that never asks (a regular expression that backtracks for ever); a fault inside the
// engine ends there too. The last two leave the heap in an unknown state, hence JS_BROKEN. Nothing but engine, prelude and
// natives runs inside js_run, so jumping out of it can damage nothing else.
#include "js_engine.h"
#include "apic.h"
#include "clock.h"
#include "config.h"
#include "console.h"
#include "memory.h"
#include "random.h"
#include "traps.h"
#include <setjmp.h>
#include <stdio.h>

// The grace is what 256 Ki instructions may take on a crowded host under emulation, so that a loop in the function's own
// code is ended by the engine, which keeps the state, and not by the timer, which can't.
enum { STACK_SPARE_BYTES = 32768, GRACE_MS = 1000 };

extern char main_stack_bottom[];
extern const char prelude_start[], prelude_end[];

struct js_counters js_counters;
duk_context *js_context;
char js_error_text[512], js_error_stack[2048];
static const u8 *module_source;
static u64 module_length;
static u64 soft_deadline, hard_deadline;
static jmp_buf way_out;
static const char *volatile broken_by;

int js_is_overdue(void *udata) {
  (void)udata;
  return clock_now_ns() >= soft_deadline;
}

int js_stack_is_low(void) {
  char here;
  return &here < main_stack_bottom + STACK_SPARE_BYTES;
}

double js_wall_ms(void) { return (double)clock_wall_ms(); }
double js_monotonic_ms(void) { return (double)clock_now_ns() / 1e6; }
double js_random(void) { return (double)(random_u64() >> 11) * 0x1p-53; }

static void break_out(const char *why) {
  broken_by = why;
  longjmp(way_out, 1);
}

void js_fatal(void *udata, const char *message) {
  (void)udata;
  break_out(message ? message : "fatal error");
  __builtin_unreachable();
}

// The timer's interrupt while the function runs.
static void timer_check(void) {
  u64 now = clock_now_ns();
  if (now >= hard_deadline) break_out("native code ran past the time limit");
  apic_timer_start(hard_deadline - now);
}

static void *take(void *udata, duk_size_t size) {
  (void)udata;
  return size ? arena_take(&js_arena, size) : NULL;
}
static void *resize(void *udata, void *p, duk_size_t size) {
  (void)udata;
  return arena_resize(&js_arena, p, size);
}
static void give(void *udata, void *p) {
  (void)udata;
  arena_give(&js_arena, p);
}

static void keep_error(duk_context *context) {
  duk_get_prop_string(context, -1, "stack");
  const char *stack = duk_safe_to_string(context, -1);
  snprintf(js_error_stack, sizeof js_error_stack, "%s", stack);
  duk_pop(context);
  snprintf(js_error_text, sizeof js_error_text, "%s", duk_safe_to_string(context, -1));
}

// Reading an error runs its getters and toString, so it happens inside the fences as well.
static duk_ret_t keep_error_step(duk_context *context, void *udata) {
  (void)udata;
  keep_error(context);
  return 0;
}

static enum js_verdict run_inside(duk_safe_call_function step, void *argument) {
  u64 failures = js_arena.failures;
  if (duk_safe_call(js_context, step, argument, 0, 1) == DUK_EXEC_SUCCESS) return JS_DONE;
  js_error_text[0] = js_error_stack[0] = 0;
  bool overdue = clock_now_ns() >= soft_deadline;
  soft_deadline = max_u64(soft_deadline, clock_now_ns() + 50 * NS_PER_MS);
  duk_dup_top(js_context);
  duk_safe_call(js_context, keep_error_step, NULL, 1, 1);
  duk_pop_2(js_context);
  bool memory = js_arena.failures != failures && (strstr(js_error_text, "alloc") || strstr(js_error_text, "DoubleError") || !js_error_text[0]);
  if (overdue) return JS_TIMED_OUT;
  return memory ? JS_OUT_OF_MEMORY : JS_THREW;
}

enum js_verdict js_run(duk_safe_call_function step, void *argument, u32 limit_ms) {
  volatile enum js_verdict verdict = JS_BROKEN;
  soft_deadline = clock_now_ns() + limit_ms * NS_PER_MS;
  hard_deadline = soft_deadline + GRACE_MS * NS_PER_MS;
  if (setjmp(way_out) == 0) {
    trap_escape = break_out;
    apic_timer_hook = timer_check;
    apic_timer_start(limit_ms * NS_PER_MS + GRACE_MS * NS_PER_MS);
    verdict = run_inside(step, argument);
  } else {
    // From an interrupt or a fault: the floating-point units may be in the middle of something.
    static const u32 mxcsr = 0x1f80;
    __asm__ volatile("fninit; ldmxcsr %0; cld" ::"m"(mxcsr));
    snprintf(js_error_text, sizeof js_error_text, "%s", broken_by);
    js_error_stack[0] = 0;
  }
  apic_timer_hook = NULL;
  trap_escape = NULL;
  apic_timer_start(0);
  irq_on();
  return verdict;
}

bool js_heap_is_stuck(void) {
  duk_gc(js_context, 0);
  return js_arena.used_bytes > js_arena.limit_bytes / 8 * 7;
}

static duk_ret_t load_step(duk_context *context, void *udata) {
  (void)udata;
  duk_push_external_buffer(context);
  duk_config_buffer(context, -1, (void *)prelude_start, (duk_size_t)(prelude_end - prelude_start));
  duk_load_function(context);
  duk_call(context, 0);
  js_push_native(context);
  duk_call(context, 1);  // the prelude is a function of the natives; it answers {load, dispatch}
  duk_push_global_stash(context);
  duk_get_prop_string(context, -2, "dispatch");
  duk_put_prop_string(context, -2, "dispatch");
  duk_pop(context);
  duk_get_prop_string(context, -1, "load");
  // Written in front of the first line, the wrapper leaves the module's line numbers as they are.
  duk_push_string(context, "(function (exports, require, module, console, process) {");
  duk_push_lstring(context, (const char *)module_source, module_length);
  duk_push_string(context, "\n})");
  duk_concat(context, 3);
  duk_push_sprintf(context, "%s.js", config.name);
  duk_compile(context, DUK_COMPILE_EVAL);
  duk_call(context, 0);
  duk_call(context, 1);
  return 0;
}

static enum js_verdict create_and_load(void) {
  memory_reset_js();
  // duk_create_heap has no error to catch: out of memory there is a fatal error, which js_run's fence catches only
  // while it is up, so the heap's making gets a fence of its own.
  soft_deadline = UINT64_MAX;
  if (setjmp(way_out)) return JS_BROKEN;
  js_context = duk_create_heap(take, resize, give, NULL, js_fatal);
  if (!js_context) {
    snprintf(js_error_text, sizeof js_error_text, "the heap is too small for the engine");
    return JS_OUT_OF_MEMORY;
  }
  return js_run(load_step, NULL, config.load_ms);
}

static void load_or_die(void) {
  enum js_verdict verdict = create_and_load();
  if (verdict == JS_DONE) {
    duk_set_top(js_context, 0);
    return;
  }
  const char *what = verdict == JS_TIMED_OUT ? "ran past load_ms" : verdict == JS_OUT_OF_MEMORY ? "is out of memory" : "failed";
  say("loading the function %s: %s", what, js_error_text);
  if (js_error_stack[0]) say_for_function("error", js_error_stack, strlen(js_error_stack));
  leave(EXIT_FUNCTION);
}

void js_load(const u8 *source, u64 length) {
  module_source = source;
  module_length = length;
  load_or_die();
}

void js_restart(const char *reason) {
  js_counters.restarts++;
  say("JavaScript heap restarted: %s; state lost", reason);
  js_context = NULL;
  load_or_die();
}
