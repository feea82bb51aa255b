// The local APIC's one-shot timer and the I/O APIC. No periodic tick: an idle guest stays in hlt.
#include "apic.h"
#include "paging.h"
#include "traps.h"

#define LAPIC 0xfee00000ull
#define IOAPIC 0xfec00000ull
#define IOAPIC_SECOND 0xfec10000ull  // microvm's: GSI 24 and up
enum {
  LAPIC_ID = 0x20, LAPIC_TPR = 0x80, LAPIC_EOI = 0xb0, LAPIC_SPURIOUS = 0xf0, LAPIC_LVT_TIMER = 0x320,
  LAPIC_LVT_LINT0 = 0x350, LAPIC_LVT_LINT1 = 0x360, LAPIC_TIMER_INITIAL = 0x380, LAPIC_TIMER_CURRENT = 0x390,
  LAPIC_TIMER_DIVIDE = 0x3e0, LVT_MASKED = 1 << 16, LVT_PERIODIC = 1 << 17, IOAPIC_PINS = 24,
};

void (*volatile apic_timer_hook)(void);
static volatile u32 laps;
static u32 lap_ns;

void apic_init(void) {
  out8(0x21, 0xff);  // the old interrupt controllers stay silent
  out8(0xa1, 0xff);
  paging_map_device(LAPIC, PAGE_BYTES);
  mmio_write32(LAPIC + LAPIC_TPR, 0);
  mmio_write32(LAPIC + LAPIC_LVT_LINT0, LVT_MASKED);
  mmio_write32(LAPIC + LAPIC_LVT_LINT1, LVT_MASKED);
  mmio_write32(LAPIC + LAPIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
  mmio_write32(LAPIC + LAPIC_TIMER_DIVIDE, 0xb);  // by 1
  mmio_write32(LAPIC + LAPIC_LVT_TIMER, VECTOR_TIMER);
}

void apic_end_of_interrupt(void) { mmio_write32(LAPIC + LAPIC_EOI, 0); }
void apic_timer_start(u64 ns) { mmio_write32(LAPIC + LAPIC_TIMER_INITIAL, (u32)min_u64(ns, 0xffffffff)); }
u32 apic_timer_left(void) { return mmio_read32(LAPIC + LAPIC_TIMER_CURRENT); }

void apic_timer_measure(u32 ns) {
  laps = 0;
  lap_ns = ns;
  mmio_write32(LAPIC + LAPIC_LVT_TIMER, VECTOR_TIMER | LVT_PERIODIC);
  apic_timer_start(ns);
}

u64 apic_timer_measured(void) {
  u64 ns = (u64)laps * lap_ns + (lap_ns - apic_timer_left());
  apic_timer_start(0);
  mmio_write32(LAPIC + LAPIC_LVT_TIMER, VECTOR_TIMER);
  return ns;
}

void apic_timer_fired(void) {
  laps++;
  if (apic_timer_hook) apic_timer_hook();
}

void ioapic_route(u32 gsi, u8 vector) {
  u64 base = gsi < IOAPIC_PINS ? IOAPIC : IOAPIC_SECOND;
  u32 pin = gsi % IOAPIC_PINS, self = mmio_read32(LAPIC + LAPIC_ID) & 0xff000000;
  paging_map_device(base, PAGE_BYTES);
  mmio_write32(base, 0x11 + pin * 2);
  mmio_write32(base + 0x10, self);
  mmio_write32(base, 0x10 + pin * 2);
  mmio_write32(base + 0x10, vector);
}

u64 msi_address(void) { return LAPIC | (u64)(mmio_read32(LAPIC + LAPIC_ID) >> 24) << 12; }
