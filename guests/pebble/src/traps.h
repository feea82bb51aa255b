// Exceptions and interrupts.
#pragma once
#include "base.h"

enum { VECTOR_TIMER = 32, VECTOR_NETWORK = 33, VECTOR_SPURIOUS = 47, VECTOR_COUNT = 48 };

void traps_init(void);
// While set, an exception does not end the guest but calls this with the fault's name; it must not return.
// It runs on the fault stack with interrupts off: all it may do is jump out.
extern void (*volatile trap_escape)(const char *fault);
