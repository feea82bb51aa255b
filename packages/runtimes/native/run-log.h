/*
 * The bounded log of skerry-run: lines of `<milliseconds since the epoch> <c|e> <text>` in DIR/log, which becomes DIR/log.1
 * when it is full (skerry-log's form). Bounded in rate as well, so that a guest that prints for ever does not wear out the
 * disk; what is left out is counted in the log. It never makes its caller wait for anything but the file system.
 */
#pragma once
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT = 5 << 20, LINE = 4096, RATE = 256 << 10, BURST = 2 << 20 };

struct stream {
  char mark;
  size_t held;
  char line[LINE];
};

static const char *log_dir;
static int log_file = -1;
static off_t log_size;
static long long budget = BURST, dropped, last_ms;

static long long now_ms(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void open_log(void) {
  char path[4096];
  struct stat about;
  snprintf(path, sizeof path, "%s/log", log_dir);
  log_file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  log_size = log_file >= 0 && fstat(log_file, &about) == 0 ? about.st_size : 0;
}

static void rotate(void) {
  char from[4096], to[4096];
  snprintf(from, sizeof from, "%s/log", log_dir);
  snprintf(to, sizeof to, "%s/log.1", log_dir);
  close(log_file);
  rename(from, to);
  open_log();
}

static void write_line(char mark, const char *text, size_t length) {
  char out[LINE + 64];
  int head = snprintf(out, sizeof out, "%lld %c ", now_ms(CLOCK_REALTIME), mark);
  memcpy(out + head, text, length);
  out[(size_t)head + length] = '\n';
  size_t all = (size_t)head + length + 1;
  if (log_file < 0) open_log();
  if (log_file >= 0 && log_size + (off_t)all > LIMIT) rotate();
  if (log_file < 0) return;
  ssize_t wrote = write(log_file, out, all); /* what a full disk does not take is lost */
  if (wrote > 0) log_size += wrote;
}

/* `is_last`: how the guest ended is never left out, nor is an EXIT line of pebble's. */
static void emit(struct stream *from, int is_last) {
  long long now = now_ms(CLOCK_MONOTONIC);
  budget += (now - last_ms) * RATE / 1000;
  last_ms = now;
  if (budget > BURST) budget = BURST;
  int is_exit = from->held >= 5 && memcmp(from->line, "EXIT ", 5) == 0;
  if (budget < (long long)from->held && !is_exit && !is_last) dropped++;
  else {
    if (dropped > 0) {
      char note[96];
      int length = snprintf(note, sizeof note, "skerry: %lld lines were dropped, the console is too fast", dropped);
      dropped = 0;
      write_line('c', note, (size_t)length);
    }
    write_line(from->mark, from->line, from->held);
    budget -= (long long)from->held + 16;
  }
  from->held = 0;
}

static void take(struct stream *to, const char *data, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (data[i] == '\n') emit(to, 0);
    else if (data[i] != '\r') {
      to->line[to->held++] = data[i];
      if (to->held == LINE) emit(to, 0);
    }
  }
}
