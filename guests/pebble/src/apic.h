// Local APIC (timer, end of interrupt) and I/O APIC (one pin for virtio-mmio).
#pragma once
#include "base.h"

void apic_init(void);
void apic_end_of_interrupt(void);
// One shot: an interrupt after `ns`, at most 4.29 s (the counter's end); replaces the one before. 0 stops it.
void apic_timer_start(u64 ns);
// Nanoseconds left of the running shot; the bus clock is 1 GHz in QEMU and KVM.
u32 apic_timer_left(void);
// The same with a counter that runs on: an interrupt after `ns`, and apic_timer_measured() tells the nanoseconds since
// (it must be asked before the second interrupt), and stops it.
void apic_timer_measure(u32 ns);
u64 apic_timer_measured(void);
// Called by the timer's interrupt, on the interrupted stack.
void apic_timer_fired(void);
// While set, apic_timer_fired calls it (interrupts off).
extern void (*volatile apic_timer_hook)(void);
// Sends pin `gsi` (edge, active high) to `vector`.
void ioapic_route(u32 gsi, u8 vector);
u64 msi_address(void);
