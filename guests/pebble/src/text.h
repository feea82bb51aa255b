// Text between the world (UTF-8) and the engine (CESU-8: characters beyond U+FFFF as two surrogates of three bytes).
#pragma once
#include "base.h"

// Length of engine text as UTF-8, and the conversion; a lone surrogate becomes U+FFFD. Bytes that are not the
// engine's text pass unchanged.
u64 text_utf8_length(const u8 *text, u64 length);
u64 text_to_utf8(u8 *to, const u8 *text, u64 length);
// The engine's form of any bytes, at most 3 for each: a malformed sequence becomes U+FFFD, so that no string can
// begin with a byte that the engine takes for a symbol's mark.
u64 text_from_utf8(u8 *to, const u8 *bytes, u64 length);
bool text_is_ascii(const u8 *text, u64 length);
