// SipHash-2-4 (Aumasson, Bernstein 2012) as keyed hash, and in counter mode as generator.
#include "random.h"

static u64 hash_key[2], stream_key[2], counter;

static u64 rotate(u64 v, int by) { return v << by | v >> (64 - by); }

static void sip_round(u64 v[4]) {
  v[0] += v[1]; v[1] = rotate(v[1], 13) ^ v[0]; v[0] = rotate(v[0], 32);
  v[2] += v[3]; v[3] = rotate(v[3], 16) ^ v[2];
  v[0] += v[3]; v[3] = rotate(v[3], 21) ^ v[0];
  v[2] += v[1]; v[1] = rotate(v[1], 17) ^ v[2]; v[2] = rotate(v[2], 32);
}

static u64 sip_hash(const u64 key[2], const void *data, size_t length) {
  const u8 *bytes = data;
  u64 v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
  u64 last = (u64)length << 56;
  for (size_t i = 0; i <= length / 8; i++) {
    u64 word = 0;
    size_t part = length - i * 8 < 8 ? length - i * 8 : 8;
    memcpy(&word, bytes + i * 8, part);
    if (part < 8) word |= last;
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
  }
  v[2] ^= 0xff;
  for (int i = 0; i < 4; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static bool rdrand(u64 *out) {
  for (int attempt = 0; attempt < 10; attempt++) {
    u8 ok;
    __asm__ volatile("rdrand %0; setc %1" : "=r"(*out), "=qm"(ok)::"cc");
    if (ok) return true;
  }
  return false;
}

bool random_init(const u8 *seed, size_t length) {
  u64 pool[12] = {read_tsc()};
  u32 features[4];
  bool good = length >= 16;
  cpuid(1, features);
  if (features[2] & 1u << 30) {
    bool all = true;
    for (int i = 1; i < 5; i++) all &= rdrand(&pool[i]);
    good |= all;
  }
  memcpy(&pool[5], seed, length < 32 ? length : 32);
  pool[9] = read_tsc();
  u64 key[2] = {pool[0] ^ pool[5], pool[9] ^ pool[1]};
  u64 *parts[4] = {&hash_key[0], &hash_key[1], &stream_key[0], &stream_key[1]};
  for (u64 i = 0; i < 4; i++) {
    pool[10] = i;
    *parts[i] = sip_hash(key, pool, sizeof pool);
  }
  return good;
}

u64 random_u64(void) {
  counter++;
  return sip_hash(stream_key, &counter, sizeof counter);
}

u64 random_keyed_hash(const void *data, size_t length) { return sip_hash(hash_key, data, length); }
