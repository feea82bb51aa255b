// Randomness: initial sequence numbers, the key of SYN cookies, Math.random.
#pragma once
#include "base.h"

// Mixes RDRAND (where the CPU has it), the TSC and `seed` (`length` bytes of the command line's, may be 0).
// False: neither RDRAND nor a seed, so that the numbers can be guessed by one who knows the boot time.
bool random_init(const u8 *seed, size_t length);
u64 random_u64(void);
// SipHash-2-4 of `length` bytes under a key of this boot.
u64 random_keyed_hash(const void *data, size_t length);
