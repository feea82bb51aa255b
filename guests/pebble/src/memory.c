// Divides the memory behind the kernel at boot, once.
#include "memory.h"
#include "config.h"
#include "console.h"
#include "paging.h"

enum { NET_MIN_KIB = 768, NET_MAX_KIB = 8192, NET_BODIES = 4, JS_MIN_KIB = 512, SPARE_PAGES = 8 };

struct arena net_arena, js_arena;
static void *js_memory;
static u64 js_bytes;

void memory_init(void) {
  u64 left_kib = (pages_left() - min_u64(pages_left(), SPARE_PAGES)) * 4;
  // Room for a few of the largest bodies, but never more than a quarter.
  u64 net_kib = max_u64(NET_MIN_KIB, min_u64(min_u64(left_kib / 4, NET_MAX_KIB), 512 + (u64)config.body_kib * NET_BODIES));
  if (left_kib < net_kib + JS_MIN_KIB) die(EXIT_MEMORY, "%llu KiB of memory are too little, %llu are needed", (unsigned long long)left_kib, (unsigned long long)(net_kib + JS_MIN_KIB));
  u64 js_kib = left_kib - net_kib;
  if (config.heap_kib > js_kib) die(EXIT_MEMORY, "heap_kib=%u: only %llu KiB are free", config.heap_kib, (unsigned long long)js_kib);
  if (config.heap_kib) js_kib = config.heap_kib;
  arena_init(&net_arena, pages_take_untouched(net_kib / 4), net_kib / 4 * PAGE_BYTES);
  js_bytes = js_kib / 4 * PAGE_BYTES;
  js_memory = pages_take_untouched(js_kib / 4);
  memory_reset_js();
}

void memory_reset_js(void) { arena_init(&js_arena, js_memory, js_bytes); }
