/*
 * skerry-run's own line to QEMU's monitor (QMP): it lets the guest begin, and keeps the word that tells how it ended, so that
 * an end is judged rightly although nobody else listened. It reads QEMU's words, which no guest can write.
 */
#pragma once
#include <string.h>
#include <unistd.h>

#include "run-log.h"

static char shutdown_reason[32] = "-";
static int panicked;
/* When QEMU said that it is about to end; 0 before. */
static long long shutdown_ms;

/* The guest waits (-S) until QEMU reads this: by then it is in its groups, and no event is lost. */
static void monitor_begin(int monitor) {
  static const char words[] = "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"cont\"}\n";
  if (write(monitor, words, sizeof words - 1) < 0) return; /* QEMU ends, its status will tell */
}

static void monitor_line(char *line) {
  char *reason;
  if (strstr(line, "\"event\": \"GUEST_PANICKED\"") || strstr(line, "\"event\": \"GUEST_CRASHLOADED\"")) panicked = 1;
  if (!strstr(line, "\"event\": \"SHUTDOWN\"") || !(reason = strstr(line, "\"reason\": \""))) return;
  reason += strlen("\"reason\": \"");
  size_t length = strcspn(reason, "\"");
  if (length == 0 || length >= sizeof shutdown_reason) return;
  memcpy(shutdown_reason, reason, length);
  shutdown_reason[length] = 0;
  shutdown_ms = now_ms(CLOCK_MONOTONIC);
}

/* A line that is too long is none of those that matter. */
static void monitor_take(const char *data, size_t count) {
  static char line[1024];
  static size_t held;
  for (size_t i = 0; i < count; i++) {
    if (data[i] == '\n') {
      line[held] = 0;
      monitor_line(line);
      held = 0;
    } else if (held < sizeof line - 1) line[held++] = data[i];
  }
}
