// Two-level segregated fit (Masmano, Ripoll, Crespo, Real: "TLSF", ECRTS 2004). A block in use costs 8 bytes: its
// size word. The word before it (`before`) is valid only while the block before is free, and is the tail of that block.
#include "arena.h"

struct arena_block {
  struct arena_block *before;  // lies in the block before; valid when SIZE_BEFORE_FREE
  u64 size;                    // payload bytes, and the flags
  struct arena_block *next, *previous;  // in the free list; payload when in use
};

#define SIZE_FREE 1ull
#define SIZE_BEFORE_FREE 2ull
#define SIZE_FLAGS 7ull
enum { HEADER_BYTES = 8, PAYLOAD_OFFSET = 16, PAYLOAD_MIN_BYTES = 24, STEP_BITS = 4, SMALL_BITS = 7 };

static u64 size_of(const struct arena_block *b) { return b->size & ~SIZE_FLAGS; }
static void *payload(struct arena_block *b) { return (u8 *)b + PAYLOAD_OFFSET; }
static struct arena_block *block_of(void *p) { return (struct arena_block *)((u8 *)p - PAYLOAD_OFFSET); }
static struct arena_block *after(struct arena_block *b) { return (struct arena_block *)((u8 *)b + size_of(b) + HEADER_BYTES); }

// Below 128 bytes the steps are 8 bytes wide, above each power of two is cut in 16.
static void locate(u64 size, unsigned *class, unsigned *step) {
  if (size < 1u << SMALL_BITS) {
    *class = 0;
    *step = (unsigned)(size >> 3);
    return;
  }
  unsigned top = 63u - (unsigned)__builtin_clzll(size);
  *class = top - SMALL_BITS + 1;
  *step = (unsigned)(size >> (top - STEP_BITS)) & (ARENA_STEPS - 1);
}

static void link_free(struct arena *a, struct arena_block *b) {
  unsigned c, s;
  locate(size_of(b), &c, &s);
  b->previous = NULL;
  b->next = a->free[c][s];
  if (b->next) b->next->previous = b;
  a->free[c][s] = b;
  a->class_map |= 1u << c;
  a->step_map[c] |= 1u << s;
  b->size |= SIZE_FREE;
  struct arena_block *n = after(b);
  n->before = b;
  n->size |= SIZE_BEFORE_FREE;
}

static void unlink_free(struct arena *a, struct arena_block *b) {
  unsigned c, s;
  locate(size_of(b), &c, &s);
  if (b->previous) b->previous->next = b->next;
  else a->free[c][s] = b->next;
  if (b->next) b->next->previous = b->previous;
  if (!a->free[c][s]) {
    a->step_map[c] &= ~(1u << s);
    if (!a->step_map[c]) a->class_map &= ~(1u << c);
  }
  b->size &= ~SIZE_FREE;
  after(b)->size &= ~SIZE_BEFORE_FREE;
}

void arena_init(struct arena *a, void *memory, u64 size) {
  memset(a, 0, sizeof *a);
  // The first block's `before` would lie in front of the span; the last, empty block is always in use.
  struct arena_block *first = (struct arena_block *)((u8 *)memory - HEADER_BYTES + 8);
  u64 bytes = (size & ~15ull) - 2 * PAYLOAD_OFFSET - HEADER_BYTES;
  first->size = bytes & ~7ull;
  after(first)->size = 0;
  link_free(a, first);
  a->limit_bytes = size_of(first) + HEADER_BYTES;
}

// The rest of a block, when it is worth one, goes back to the free ones.
static void trim(struct arena *a, struct arena_block *b, u64 size) {
  u64 have = size_of(b);
  if (have < size + HEADER_BYTES + PAYLOAD_MIN_BYTES) return;
  b->size = size | (b->size & SIZE_FLAGS);
  struct arena_block *rest = after(b);
  rest->size = have - size - HEADER_BYTES;
  struct arena_block *n = after(rest);
  if (n->size & SIZE_FREE) {
    unlink_free(a, n);
    rest->size += size_of(n) + HEADER_BYTES;
  }
  link_free(a, rest);
}

static u64 rounded(u64 size) {
  return size < PAYLOAD_MIN_BYTES ? PAYLOAD_MIN_BYTES : (size + 7) & ~7ull;
}

void *arena_take(struct arena *a, u64 wanted) {
  u64 size = rounded(wanted);
  unsigned c, s;
  if (wanted > a->limit_bytes) goto fail;
  // Round up to the next step, so that any block found there is large enough.
  u64 search = size >= 1u << SMALL_BITS ? size + (1ull << (63 - __builtin_clzll(size) - STEP_BITS)) - 1 : size;
  locate(search, &c, &s);
  if (c >= ARENA_CLASSES) goto fail;
  u32 steps = a->step_map[c] & (~0u << s);
  if (!steps) {
    u32 classes = c + 1 < ARENA_CLASSES ? a->class_map & (~0u << (c + 1)) : 0;
    if (!classes) goto fail;
    c = (unsigned)__builtin_ctz(classes);
    steps = a->step_map[c];
  }
  struct arena_block *b = a->free[c][__builtin_ctz(steps)];
  unlink_free(a, b);
  trim(a, b, size);
  a->used_bytes += size_of(b) + HEADER_BYTES;
  return payload(b);
fail:
  a->failures++;
  return NULL;
}

void arena_give(struct arena *a, void *p) {
  if (!p) return;
  struct arena_block *b = block_of(p);
  a->used_bytes -= size_of(b) + HEADER_BYTES;
  if (b->size & SIZE_BEFORE_FREE) {
    struct arena_block *before = b->before;
    unlink_free(a, before);
    before->size += size_of(b) + HEADER_BYTES;
    b = before;
  }
  struct arena_block *n = after(b);
  if (n->size & SIZE_FREE) {
    unlink_free(a, n);
    b->size += size_of(n) + HEADER_BYTES;
  }
  link_free(a, b);
}

void *arena_resize(struct arena *a, void *p, u64 wanted) {
  if (!p) return arena_take(a, wanted);
  if (wanted == 0) {
    arena_give(a, p);
    return NULL;
  }
  struct arena_block *b = block_of(p), *n = after(b);
  u64 size = rounded(wanted), have = size_of(b);
  if (wanted > a->limit_bytes) {
    a->failures++;
    return NULL;
  }
  if (size > have && (n->size & SIZE_FREE) && have + HEADER_BYTES + size_of(n) >= size) {
    unlink_free(a, n);
    b->size += size_of(n) + HEADER_BYTES;
  }
  if (size <= size_of(b)) {
    a->used_bytes -= have;
    trim(a, b, size);
    a->used_bytes += size_of(b);
    return payload(b);
  }
  void *fresh = arena_take(a, wanted);
  if (!fresh) return NULL;
  memcpy(fresh, p, have);
  arena_give(a, p);
  return fresh;
}
