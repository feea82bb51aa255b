/*
 * skerry-run's own line to QEMU's monitor (QMP): it lets the guest begin, and keeps the word that tells how it ended, so that
 * an end is judged rightly although nobody else listened. It reads QEMU's words, which no guest can write.
 */
#pragma once
#include <sys/socket.h>
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

/*
 * Whoever connects to `door` becomes a viewer of the screen: QEMU itself listens nowhere. The connection goes along with the
 * first command (getfd), the second one speaks VNC on it; skipauth, for the socket is root's alone.
 */
static void show_screen(int monitor, int door) {
  static const char name[] = "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"viewer\"}}\n";
  static const char words[] = "{\"execute\":\"add_client\",\"arguments\":{\"protocol\":\"vnc\",\"fdname\":\"viewer\","
                              "\"skipauth\":true}}\n";
  int viewer = accept4(door, NULL, NULL, SOCK_CLOEXEC);
  if (viewer < 0) return;
  char room[CMSG_SPACE(sizeof viewer)] = {0};
  struct iovec text = {(void *)name, sizeof name - 1};
  struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof viewer);
  memcpy(CMSG_DATA(head), &viewer, sizeof viewer);
  /* A monitor that takes no more hangs: its viewer is told by the end of the connection. */
  if (sendmsg(monitor, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)text.iov_len)
    if (send(monitor, words, sizeof words - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) { /* QEMU keeps an unused file */
    }
  close(viewer);
}
