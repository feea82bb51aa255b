// The order of boot, and the loop that is all the scheduling there is.
#include "apic.h"
#include "bootinfo.h"
#include "clock.h"
#include "config.h"
#include "console.h"
#include "http.h"
#include "ip.h"
#include "js.h"
#include "memory.h"
#include "nic.h"
#include "paging.h"
#include "random.h"
#include "selftest.h"
#include "tcp.h"
#include "traps.h"

enum { FRAMES_PER_TURN = 32 };

void libc_init(void);

static struct boot_info boot;

static void serve(void) {
  for (;;) {
    unsigned frames = nic_receive(ethernet_input, FRAMES_PER_TURN);
    u64 next_timer = tcp_timers(clock_now_ns());
    bool answered = http_run_one();
    tcp_flush();
    nic_flush();
    if (!frames && !answered) clock_idle_until(next_timer, nic_pending);
  }
}

static void check_module(void) {
  if (boot.module_size == 0) die(EXIT_FUNCTION, "there is no function: give its source as the initrd");
  if (boot.module_start < boot.ram_start || boot.module_start + boot.module_size > boot.ram_end ||
      boot.module_start + boot.module_size < boot.module_start)
    die(EXIT_FUNCTION, "the function's source lies outside of memory");
}

void kernel_main(u64 start_info) {
  libc_init();
  console_init();
  traps_init();
  boot_info_read(start_info, &boot);
  paging_init(&boot);
  apic_init();
  clock_init();
  if (boot.command_line_cut) die(EXIT_COMMAND_LINE, "command line: longer than %d bytes", COMMAND_LINE_MAX_BYTES - 1);
  config_read(boot.command_line);
  if (!clock_set_wall(config.time_ms)) say("no time= and no clock: the date starts in 1970");
  if (!random_init(config.seed, config.seed_length)) say("no RDRAND and no seed=: random numbers can be guessed");
  if (!config.selftest) nic_init();
  memory_init();
  selftest_run(config.selftest);
  check_module();
  irq_on();
  js_load((const u8 *)boot.module_start, boot.module_size);
  arp_announce();
  say("%s ready on %u.%u.%u.%u:%u after %llu ms, heap %llu of %llu KiB used", config.name, config.ip >> 24, config.ip >> 16 & 255,
      config.ip >> 8 & 255, config.ip & 255, config.port, (unsigned long long)(clock_now_ns() / NS_PER_MS),
      (unsigned long long)(js_arena.used_bytes >> 10), (unsigned long long)(js_arena.limit_bytes >> 10));
  serve();
}
