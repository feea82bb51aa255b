// UTF-8 (RFC 3629) and CESU-8 (Unicode Technical Report 26).
#include "text.h"

bool text_is_ascii(const u8 *text, u64 length) {
  for (u64 i = 0; i < length; i++)
    if (text[i] & 0x80) return false;
  return true;
}

// A surrogate at text[0..2]: its value, else 0.
static u32 surrogate(const u8 *text, u64 length) {
  if (length < 3 || text[0] != 0xed || text[1] < 0xa0 || text[1] > 0xbf || (text[2] & 0xc0) != 0x80) return 0;
  return 0xd000u | (u32)(text[1] & 0x3f) << 6 | (text[2] & 0x3f);
}

static u64 put_utf8(u8 *to, u32 point) {
  if (point < 0x80) {
    to[0] = (u8)point;
    return 1;
  }
  if (point < 0x800) {
    to[0] = (u8)(0xc0 | point >> 6);
    to[1] = (u8)(0x80 | (point & 0x3f));
    return 2;
  }
  if (point < 0x10000) {
    to[0] = (u8)(0xe0 | point >> 12);
    to[1] = (u8)(0x80 | (point >> 6 & 0x3f));
    to[2] = (u8)(0x80 | (point & 0x3f));
    return 3;
  }
  to[0] = (u8)(0xf0 | point >> 18);
  to[1] = (u8)(0x80 | (point >> 12 & 0x3f));
  to[2] = (u8)(0x80 | (point >> 6 & 0x3f));
  to[3] = (u8)(0x80 | (point & 0x3f));
  return 4;
}

static u64 convert_out(u8 *to, const u8 *text, u64 length) {
  u64 n = 0;
  for (u64 i = 0; i < length;) {
    u32 first = text[i] == 0xed ? surrogate(text + i, length - i) : 0;
    if (!first) {
      if (to) to[n] = text[i];
      n++;
      i++;
      continue;
    }
    u32 second = first < 0xdc00 ? surrogate(text + i + 3, length - i - 3) : 0;
    bool pair = second >= 0xdc00;
    u8 bytes[4];
    u64 size = put_utf8(bytes, pair ? 0x10000 + ((first & 0x3ff) << 10 | (second & 0x3ff)) : 0xfffd);
    if (to) memcpy(to + n, bytes, size);
    n += size;
    i += pair ? 6 : 3;
  }
  return n;
}

u64 text_utf8_length(const u8 *text, u64 length) { return convert_out(NULL, text, length); }
u64 text_to_utf8(u8 *to, const u8 *text, u64 length) { return convert_out(to, text, length); }

// Decodes one character; 0 bytes taken: malformed.
static u32 decode(const u8 *p, u64 length, u32 *point) {
  u32 need = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
  if (need == 0 || need > length) return 0;
  u32 value = need == 1 ? p[0] : p[0] & (0xffu >> (need + 1));
  for (u32 i = 1; i < need; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    value = value << 6 | (p[i] & 0x3f);
  }
  if ((need == 3 && value < 0x800) || (need == 4 && (value < 0x10000 || value > 0x10ffff)) || (value >= 0xd800 && value < 0xe000)) return 0;
  *point = value;
  return need;
}

u64 text_from_utf8(u8 *to, const u8 *bytes, u64 length) {
  u64 n = 0;
  for (u64 i = 0; i < length;) {
    u32 point = 0xfffd, taken = decode(bytes + i, length - i, &point);
    if (!taken) {
      point = 0xfffd;
      taken = 1;
    }
    if (point >= 0x10000) {
      n += put_utf8(to + n, 0xd800 | (point - 0x10000) >> 10);
      n += put_utf8(to + n, 0xdc00 | ((point - 0x10000) & 0x3ff));
    } else {
      n += put_utf8(to + n, point);
    }
    i += taken;
  }
  return n;
}
