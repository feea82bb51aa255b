// Serial console and the end of the guest.
#pragma once
#include "base.h"

enum exit_code {
  EXIT_OK = 0,
  EXIT_FUNCTION = 2,
  EXIT_COMMAND_LINE = 3,
  EXIT_FAULT = 4,
  EXIT_MEMORY = 5,
  EXIT_NO_NETWORK = 6,
  EXIT_SELFTEST = 7,
};

void console_init(void);
// One line of the kernel's, "pebble: …".
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Text from the function: each of its lines gets the prefix `name: level: `; control characters are escaped.
void say_for_function(const char *level, const char *text, size_t length);
void console_set_name(const char *name);
// Prints the EXIT line and leaves by isa-debug-exit, ACPI, reset, whichever exists.
void leave(enum exit_code code) __attribute__((noreturn));
void die(enum exit_code code, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
