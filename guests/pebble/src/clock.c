// The TSC is the clock; the local APIC's timer (1 GHz in QEMU and KVM) tells its frequency: a first estimate at boot,
// corrected over the first long idle spans, each a thousand times longer. A moved guest with another TSC
// frequency would drift: start it anew instead.
#include "clock.h"
#include "apic.h"

enum { CALIBRATE_NS = 500000, REFINE_SPANS = 4 };
#define REFINE_MIN_NS NS_PER_S
#define REFINE_SHOT_NS (2 * NS_PER_S)

static u64 base_tsc, base_ns;     // where the present frequency took over
static u64 ns_per_tick_32;        // 32.32 fixed point
static u64 wall_at_boot_ms;
static int refined;
static u64 refine_ticks, refine_ns;

u64 clock_now_ns(void) {
  return base_ns + (u64)((unsigned __int128)(read_tsc() - base_tsc) * ns_per_tick_32 >> 32);
}

static u64 rate(u64 ns, u64 ticks) { return (u64)(((unsigned __int128)ns << 32) / ticks); }

void clock_init(void) {
  apic_timer_start(0xffffffff);
  u32 left = apic_timer_left();
  base_tsc = read_tsc();
  u32 spent;
  do spent = left - apic_timer_left();
  while (spent < CALIBRATE_NS);
  ns_per_tick_32 = rate(spent, read_tsc() - base_tsc);
  apic_timer_start(0);
}

static u8 rtc_read(u8 index) {
  out8(0x70, index);
  return in8(0x71);
}

static u64 days_since_1970(u64 year, u64 month, u64 day) {
  u64 y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y % 400;
  u64 of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

// The CMOS clock (MC146818), in UTC; 0 when there is none. A reading during its update is taken again.
static u64 rtc_unix_ms(void) {
  u8 a[7], b[7];
  static const u8 index[7] = {0, 2, 4, 7, 8, 9, 0x32};
  u8 mode = rtc_read(0x0b);
  if (mode == 0xff) return 0;
  for (int attempt = 0; attempt < 4; attempt++) {
    for (int i = 0; i < 7; i++) a[i] = rtc_read(index[i]);
    for (int i = 0; i < 7; i++) b[i] = rtc_read(index[i]);
    if (memcmp(a, b, sizeof a) == 0) break;
  }
  bool pm = !(mode & 2) && (a[2] & 0x80);
  a[2] &= 0x7f;
  if (!(mode & 4))
    for (int i = 0; i < 7; i++) a[i] = (u8)((a[i] >> 4) * 10 + (a[i] & 15));
  if (!(mode & 2)) a[2] = (u8)(a[2] % 12 + (pm ? 12 : 0));
  u64 century = a[6] >= 19 && a[6] <= 99 ? a[6] : 20;
  if (a[0] > 59 || a[1] > 59 || a[2] > 23 || a[3] < 1 || a[3] > 31 || a[4] < 1 || a[4] > 12) return 0;
  return (((days_since_1970(century * 100 + a[5], a[4], a[3]) * 24 + a[2]) * 60 + a[1]) * 60 + a[0]) * 1000;
}

bool clock_set_wall(u64 unix_ms) {
  u64 now_ms = clock_now_ns() / NS_PER_MS, known = unix_ms ? unix_ms : rtc_unix_ms();
  // time= is the moment the guest was started; the RTC is read now.
  wall_at_boot_ms = unix_ms ? unix_ms : known > now_ms ? known - now_ms : 0;
  return known != 0;
}

u64 clock_wall_ms(void) { return wall_at_boot_ms + clock_now_ns() / NS_PER_MS; }

// One more measurement, over a span of idleness that has just ended.
static void refine(u64 span_ns, u64 ticks) {
  if (span_ns < REFINE_MIN_NS) return;
  refine_ticks += ticks;
  refine_ns += span_ns;
  refined++;
  u64 now = clock_now_ns();
  base_tsc = read_tsc();
  base_ns = now;
  ns_per_tick_32 = rate(refine_ns, refine_ticks);
}

void clock_idle_until(u64 deadline_ns, bool (*work_pending)(void)) {
  u64 now = clock_now_ns();
  if (deadline_ns <= now) return;
  u64 wait = deadline_ns - now;
  bool measure = refined < REFINE_SPANS && wait > REFINE_SHOT_NS;
  irq_off();
  if (work_pending()) {
    irq_on();
    return;
  }
  u64 tsc = read_tsc();
  if (measure) apic_timer_measure(REFINE_SHOT_NS);
  else apic_timer_start(deadline_ns == UINT64_MAX ? 0 : wait);
  irq_on_and_halt();
  if (measure) {
    u64 span = apic_timer_measured();
    refine(span, read_tsc() - tsc);
  }
}
