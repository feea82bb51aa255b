// selftest=WORD: break one rule of memory on purpose and see that the processor objects.
#pragma once
#include "base.h"

// Runs the test of that name and ends the guest; returns when there is no such test or `name` is NULL.
void selftest_run(const char *name);
bool selftest_expects_fault(u64 address);
void selftest_passed(const char *fault, u64 error, u64 address) __attribute__((noreturn));
