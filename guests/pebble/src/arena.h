// An allocator inside one span of memory: constant time, coalescing, with a count of what is used.
#pragma once
#include "base.h"

struct arena_block;
enum { ARENA_CLASSES = 32, ARENA_STEPS = 16 };

struct arena {
  u64 limit_bytes, used_bytes, failures;
  u32 class_map;
  u32 step_map[ARENA_CLASSES];
  struct arena_block *free[ARENA_CLASSES][ARENA_STEPS];
};

// `memory` is 16-byte aligned, `size` below 2 GiB. What was in it before is forgotten.
void arena_init(struct arena *arena, void *memory, u64 size);
// 8-byte aligned; NULL when there is no block large enough.
void *arena_take(struct arena *arena, u64 size);
// As realloc: NULL leaves the old block as it was; size 0 gives back.
void *arena_resize(struct arena *arena, void *p, u64 size);
void arena_give(struct arena *arena, void *p);
