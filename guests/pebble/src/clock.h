// Time: nanoseconds since boot from the TSC, wall clock in Unix milliseconds.
#pragma once
#include "base.h"

// Measures the TSC against the local APIC's 1 GHz timer for half a millisecond. Needs apic_init.
void clock_init(void);
u64 clock_now_ns(void);
// The wall clock starts at `unix_ms`, or at the RTC's time when that is 0. False: neither is known, it starts in 1970.
bool clock_set_wall(u64 unix_ms);
u64 clock_wall_ms(void);
double clock_wall_ms_double(void);
double clock_now_ms_double(void);

// Halts until an interrupt or `deadline_ns` (UINT64_MAX: none) unless `work_pending()` says so with interrupts off.
void clock_idle_until(u64 deadline_ns, bool (*work_pending)(void));
