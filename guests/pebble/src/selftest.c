// The memory rules of paging.c, tried: each access below must fault, and the fault is the success.
#include "selftest.h"
#include "console.h"
#include "memory.h"

extern char __text_start[], __rodata_start[], main_stack_guard[];
static const char *running;
static u64 expected;
static u8 in_data[16] = {0xc3};  // ret

static void run_at(u64 address) { ((void (*)(void))address)(); }
static void write_at(u64 address) { *(volatile u8 *)address = 0; }

// Not a tail call, and a frame large enough that the guard page can't be stepped over.
static int __attribute__((noinline)) recurse(volatile int depth) {
  volatile char frame[1024];
  frame[0] = (char)depth;
  return depth > 1 << 20 ? 0 : recurse(depth + 1) + frame[0];
}
static void overflow_stack(u64 address) {
  (void)address;
  recurse(0);
}

void selftest_run(const char *name) {
  if (!name) return;
  u8 *on_heap = arena_take(&js_arena, 16);
  u8 on_stack[16] = {0xc3};
  on_heap[0] = 0xc3;
  const struct { const char *name; void (*act)(u64); u64 address; } tests[] = {
      {"nx-data", run_at, (u64)in_data},       {"nx-heap", run_at, (u64)on_heap},
      {"nx-stack", run_at, (u64)on_stack},     {"nx-rodata", run_at, (u64)__rodata_start},
      {"ro-text", write_at, (u64)__text_start}, {"ro-rodata", write_at, (u64)__rodata_start},
      {"null", write_at, 8},                   {"low", write_at, 0x9000},
      {"guard", overflow_stack, (u64)main_stack_guard},
  };
  for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
    if (strcmp(name, tests[i].name) != 0) continue;
    running = name;
    expected = tests[i].address;
    tests[i].act(tests[i].address);
    die(EXIT_SELFTEST, "selftest %s: nothing stopped it", name);
  }
  die(EXIT_SELFTEST, "selftest %s: no such test", name);
}

bool selftest_expects_fault(u64 address) { return running && address >> 12 == expected >> 12; }

void selftest_passed(const char *fault, u64 error, u64 address) {
  say("selftest %s: stopped by a %s at %llx, error %llx", running, fault, (unsigned long long)address, (unsigned long long)error);
  leave(EXIT_OK);
}
