// The two heaps: one for the network's buffers, one for the JavaScript engine. What the function eats, the kernel keeps.
#pragma once
#include "arena.h"

extern struct arena net_arena, js_arena;

// Divides the RAM that is left. The JavaScript heap gets heap_kib of it, or all but the network's share.
void memory_init(void);
// Forgets everything in the JavaScript heap.
void memory_reset_js(void);
