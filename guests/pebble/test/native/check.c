// Runs on the building machine under AddressSanitizer and UBSan: the parts of the guest that eat untrusted bytes or hand
// out memory and need no kernel, millions of random cases each. Ends with 0, or with the sanitizer's report.
#include "arena.h"
#include "http.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>

static u64 state = 88172645463325252ull;
static u64 chance(void) {  // xorshift64 (Marsaglia 2003)
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

#define CHECK(what) \
  do { \
    if (!(what)) { \
      fprintf(stderr, "line %d: not true: %s\n", __LINE__, #what); \
      exit(1); \
    } \
  } while (0)

enum { PIECES = 300 };
static struct { u8 *p; u64 size; u8 fill; } pieces[PIECES];

static bool intact(const u8 *p, u64 size, u8 fill) {
  for (u64 i = 0; i < size; i++)
    if (p[i] != fill) return false;
  return true;
}

static void check_arena(void) {
  u64 bytes = (1 << 18) + chance() % 4096 * 16;
  u8 *memory = aligned_alloc(16, bytes);
  static struct arena arena;
  arena_init(&arena, memory, bytes);
  memset(pieces, 0, sizeof pieces);
  for (int i = 0; i < 60000; i++) {
    unsigned k = chance() % PIECES;
    u64 size = 1 + (chance() % 8 == 0 ? chance() % 20000 : chance() % 300), keep = size < pieces[k].size ? size : pieces[k].size;
    CHECK(intact(pieces[k].p, pieces[k].size, pieces[k].fill));
    if (pieces[k].p && chance() % 3 == 0) {
      arena_give(&arena, pieces[k].p);
      pieces[k].p = NULL;
      pieces[k].size = 0;
      continue;
    }
    u8 *p = arena_resize(&arena, pieces[k].p, size);
    if (!p) continue;
    CHECK((u64)p % 8 == 0 && p >= memory && p + size <= memory + bytes);
    CHECK(intact(p, pieces[k].p ? keep : 0, pieces[k].fill));
    pieces[k].p = p;
    pieces[k].size = size;
    memset(p, pieces[k].fill = (u8)chance(), size);
  }
  for (unsigned k = 0; k < PIECES; k++) arena_give(&arena, pieces[k].p);
  CHECK(arena.used_bytes == 0);
  CHECK(arena_take(&arena, arena.limit_bytes / 8 * 7) != NULL);  // all of it is one piece again
  free(memory);
}

static void check_http(void) {
  static const char *const parts[] = {"GET ", "/", " HTTP/1.1\r\n", "Host: x\r\n", "\r\n", "Content-Length: 5\r\n", ":", " ", "?a=b", "http://",
                                      "\r", "\n", "Transfer-Encoding: chunked\r\n", "Connection: close, keep-alive ,,\r\n", "a", "%41"};
  static struct http_head head;
  u8 bytes[400];
  u32 length = 0;
  for (u64 n = chance() % 10; n > 0; n--) {
    const char *part = parts[chance() % ARRAY_SIZE(parts)];
    memcpy(bytes + length, part, strlen(part));
    length += (u32)strlen(part);
  }
  if (length && chance() % 4 == 0) bytes[chance() % length] = (u8)chance();
  u8 *exact = malloc(length ? length : 1);  // so that a byte beyond the end is noticed
  memcpy(exact, bytes, length);
  http_parse_head(exact, length, &head);
  free(exact);
}

static void check_text(void) {
  static const u8 telling[] = {0xed, 0xa0, 0x80, 0xb0, 0xf0, 0x9f, 0xe2, 0x41, 0xff, 0xc3, 0xbf};
  u32 length = chance() % 24;
  u8 *bytes = malloc(length + 1), *engine = malloc(length * 3 + 1);
  for (u32 i = 0; i < length; i++) bytes[i] = chance() % 3 ? telling[chance() % sizeof telling] : (u8)chance();
  u64 engine_length = text_from_utf8(engine, bytes, length), out_length = text_utf8_length(engine, engine_length);
  u8 *out = malloc(out_length + 1), *again = malloc(out_length * 3 + 1);
  CHECK(engine_length <= length * 3 && text_to_utf8(out, engine, engine_length) == out_length);
  CHECK(text_from_utf8(again, out, out_length) == engine_length && memcmp(again, engine, engine_length) == 0);
  CHECK(engine_length == 0 || (engine[0] & 0xc0) != 0x80);  // never a symbol's mark
  free(bytes);
  free(engine);
  free(out);
  free(again);
}

int main(void) {
  for (int i = 0; i < 4; i++) check_arena();
  for (int i = 0; i < 500000; i++) check_http();
  for (int i = 0; i < 500000; i++) check_text();
  return 0;
}
