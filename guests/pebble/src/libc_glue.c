// What musl's archive expects around it: a thread block for errno, and ends for what must never be reached.
#include "base.h"
#include "console.h"

// musl reaches its thread structure (errno, locale) through the first word at FS.
static u64 thread_block[128];

void libc_init(void) {
  thread_block[0] = (u64)thread_block;
  write_msr(0xc0000100, (u64)thread_block);
}

void abort(void) { die(EXIT_FAULT, "abort"); }
