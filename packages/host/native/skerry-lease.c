/*
 * skerry-lease FILE PID START: ends a process when its lease is over, whether or not anybody else is there to do it.
 *
 * FILE begins with a moment: milliseconds since boot, time in suspension included, as /proc/uptime counts them. Whoever renews
 * the lease replaces the file. PID is the process, started START clock ticks after boot (field 22 of /proc/PID/stat, proc(5)).
 * Returns at once; what watches goes on by itself, once for each process (an abstract socket is its lock, which leaves nothing
 * behind), until the process has ended. A file that is not there, or says nothing, is a lease that is over.
 *
 *   asleep --the process ended--> exit
 *     +--the moment has come--> read FILE again: later by now -> asleep, else SIGKILL
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef CLOCK_BOOTTIME
#define CLOCK_BOOTTIME 7
#endif

/* The first 4095 bytes of a file; -1 where it can not be read. */
static ssize_t slurp(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t got = read(fd, text, size - 1);
  close(fd);
  if (got >= 0) text[got] = 0;
  return got;
}

static unsigned long long start_of(const char *pid) {
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/%s/stat", pid);
  if (slurp(path, text, sizeof text) <= 0) return 0;
  char *field = strrchr(text, ')'); /* the name may hold spaces and brackets */
  for (int i = 0; field && i < 20; i++) field = strchr(field + 1, ' ');
  return field ? strtoull(field + 1, NULL, 10) : 0;
}

/* Milliseconds that are left; below zero: over. */
static long long left(const char *path) {
  char text[4096];
  if (slurp(path, text, sizeof text) <= 0) return -1;
  long long until = strtoll(text, NULL, 10);
  if (slurp("/proc/uptime", text, sizeof text) <= 0) return -1;
  return until - (long long)(strtod(text, NULL) * 1000);
}

static int only_one(const char *pid, const char *start) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "skerry-lease-%s-%s", pid, start);
  int lock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (lock < 0) return 0;
  return bind(lock, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 1 + length) == 0;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: skerry-lease FILE PID START\n");
    return 2;
  }
  const char *file = argv[1], *pid = argv[2], *start = argv[3];
  int process = (int)syscall(SYS_pidfd_open, atoi(pid), 0);
  if (process < 0) {
    if (errno == ESRCH) return 0;
    perror("pidfd_open");
    return 1;
  }
  if (start_of(pid) != strtoull(start, NULL, 10)) return 0; /* that one has ended; the number is another's */
  int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
  if (timer < 0) {
    perror("timerfd_create");
    return 1;
  }
  switch (fork()) {
    case -1: perror("fork"); return 1;
    case 0: break;
    default: return 0;
  }
  setsid();
  if (chdir("/") < 0) return 1;
  if (!only_one(pid, start)) return 0;
  for (int fd = 0; fd < 3; fd++) close(fd);
  for (;;) {
    long long ms = left(file);
    if (ms <= 0) {
      syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
      ms = 1000; /* again, should it not be gone by then */
    }
    struct itimerspec in = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
    timerfd_settime(timer, 0, &in, NULL);
    struct pollfd both[2] = {{.fd = process, .events = POLLIN}, {.fd = timer, .events = POLLIN}};
    while (poll(both, 2, -1) < 0 && errno == EINTR) {}
    if (both[0].revents) return 0;
  }
}
