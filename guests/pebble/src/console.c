// The serial port (16550 at 0x3f8, polled) and the ways out. Log lines are bounded; nothing is ever read.
#include "console.h"
#include <stdio.h>

enum { COM1 = 0x3f8, LINE_MAX_CHARS = 512, MESSAGE_MAX_BYTES = 8192, FIFO_BYTES = 16 };
#define PATIENCE_TICKS 3000000000ull  // of the TSC, whose frequency is not known yet: 0.6 to 3 s

static char function_name[64] = "function";

void console_init(void) {
  out8(COM1 + 1, 0);     // no interrupts
  out8(COM1 + 3, 0x80);  // divisor 1: 115200 baud
  out8(COM1 + 0, 1);
  out8(COM1 + 1, 0);
  out8(COM1 + 3, 3);     // 8N1
  out8(COM1 + 2, 7);     // FIFO on, emptied
}

static bool stuck;

enum { LINE_STATUS = COM1 + 5, ROOM = 0x20, ALL_SENT = 0x40 };

static bool wait_for(u8 status) {
  bool ready = in8(LINE_STATUS) & status;
  for (u64 start = read_tsc(); !ready && !stuck && read_tsc() - start < PATIENCE_TICKS;) ready = in8(LINE_STATUS) & status;
  return ready;
}

// A slow reader is waited for; one that has gone away must not stop the guest: after about a second of waiting, what is
// said is dropped until there is room again.
static void put_char(char c) {
  static unsigned room;
  if (room == 0) {
    stuck = !wait_for(ROOM);
    if (stuck) return;
    room = FIFO_BYTES;
  }
  room--;
  out8(COM1, (u8)c);
}

static void put_text(const char *text) {
  while (*text) put_char(*text++);
}

void console_set_name(const char *name) { snprintf(function_name, sizeof function_name, "%s", name); }

static void say_list(const char *format, va_list list) {
  char line[LINE_MAX_CHARS];
  vsnprintf(line, sizeof line, format, list);
  put_text("pebble: ");
  put_text(line);
  put_text("\n");
}

void say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  say_list(format, list);
  va_end(list);
}

void say_for_function(const char *level, const char *text, size_t length) {
  size_t end = length < MESSAGE_MAX_BYTES ? length : MESSAGE_MAX_BYTES;
  bool line_start = true;
  for (size_t i = 0; i < end; i++) {
    unsigned char c = (unsigned char)text[i];
    if (line_start) {
      put_text(function_name);
      put_text(": ");
      put_text(level);
      put_text(": ");
      line_start = false;
    }
    if (c == '\n') {
      put_char('\n');
      line_start = true;
    } else if (c == '\t' || (c >= 0x20 && c != 0x7f)) {
      put_char((char)c);
    } else {
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\x%02x", c);
      put_text(escaped);
    }
  }
  if (end < length) put_text(" ... (cut)");
  if (!line_start || end == 0) put_char('\n');
}

void leave(enum exit_code code) {
  char line[32];
  irq_off();
  stuck = false;  // the last line is worth a wait of its own
  snprintf(line, sizeof line, "EXIT code=%d\n", (int)code);
  put_text(line);
  wait_for(ALL_SENT);        // what is still in the FIFO would end with the machine
  out16(0x501, (u16)code);   // isa-debug-exit: QEMU's status becomes 2 * code + 1
  out16(0x604, 0x2000);      // ACPI S5 on pc and q35
  out8(0x64, 0xfe);          // keyboard controller's reset: with -no-reboot QEMU ends
  static const struct { u16 limit; u64 base; } __attribute__((packed)) no_idt = {0, 0};
  __asm__ volatile("lidt %0; int3" ::"m"(no_idt));  // no vector left: triple fault
  for (;;) __asm__ volatile("hlt");
}

void die(enum exit_code code, const char *format, ...) {
  va_list list;
  va_start(list, format);
  say_list(format, list);
  va_end(list);
  leave(code);
}
