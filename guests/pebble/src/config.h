// The guest's configuration, read once from the kernel command line (README.md has the table).
#pragma once
#include "base.h"

enum { ENV_MAX = 32, MMIO_DEVICES_MAX = 8, SEED_MAX_BYTES = 32 };

struct config {
  u32 ip, netmask, gateway;  // host byte order; gateway 0: none
  u16 port;
  char name[64];
  u32 timeout_ms, load_ms;
  u32 heap_kib;              // 0: what memory has
  u32 body_kib;
  u64 time_ms;               // 0: ask the RTC
  u8 seed[SEED_MAX_BYTES];
  size_t seed_length;
  const char *env_key[ENV_MAX], *env_value[ENV_MAX];
  unsigned env_count;
  const char *selftest;      // NULL: none
  struct { u64 address; u32 size, irq; } mmio[MMIO_DEVICES_MAX];
  unsigned mmio_count;
};

extern struct config config;

// Parses `line` in place (values point into it, it must stay). Ends the guest on a wrong value.
void config_read(char *line);
