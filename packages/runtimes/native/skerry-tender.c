/*
 * skerry-tender -name MARK -- tender ARG...: runs a program that is no QEMU under skerry-run, which takes it for one.
 *
 *   fd 3  the console: what the program prints goes there, what is typed comes from there
 *   fd 5  listening: a monitor of few words is spoken there (QMP). `quit` and `system_powerdown` end the program; every other
 *         command is answered with an empty return, as if it had been done
 *   fd 6  skerry-run's own line: the word that lets a guest begin is read and needs nothing
 *
 * It ends as the program ended: with its status, or by its signal; with status 0 when the monitor asked for the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONSOLE = 3, MONITOR = 5, OWN = 6, CLIENTS = 4, LINE = 1024, FIXED = 3 };

struct client {
  int fd;
  size_t held;
  char line[LINE];
};

static struct client clients[CLIENTS];
static pid_t child;
static int was_asked;

static void say(int fd, const char *text) {
  if (send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) { /* it is gone: found when it is read */
  }
}

/* `"id": N` is returned as it came; a command without one gets none. */
static void answer(struct client *to) {
  char text[128], *id = strstr(to->line, "\"id\"");
  long number = id && (id = strchr(id, ':')) ? atol(id + 1) : -1;
  int ends = strstr(to->line, "\"quit\"") || strstr(to->line, "\"system_powerdown\"");
  if (number >= 0) snprintf(text, sizeof text, "{\"return\": {}, \"id\": %ld}\r\n", number);
  else snprintf(text, sizeof text, "{\"return\": {}}\r\n");
  say(to->fd, text);
  if (!ends) return;
  was_asked = 1;
  kill(child, SIGKILL);
}

static void take(struct client *from) {
  char data[LINE];
  ssize_t got = read(from->fd, data, sizeof data);
  if (got <= 0) {
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    close(from->fd);
    from->fd = -1;
    return;
  }
  for (ssize_t i = 0; i < got; i++) {
    if (data[i] == '\n') {
      from->line[from->held] = 0;
      from->held = 0;
      answer(from);
    } else if (from->held < LINE - 1) from->line[from->held++] = data[i];
  }
}

static void accept_one(void) {
  int fd = accept4(MONITOR, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), i = 0;
  if (fd < 0) return;
  while (i < CLIENTS && clients[i].fd >= 0) i++;
  if (i == CLIENTS) {
    close(fd);
    return;
  }
  clients[i].fd = fd;
  clients[i].held = 0;
  say(fd, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 0}, \"package\": \"tender\"}, \"capabilities\": []}}\r\n");
}

static void end_as(int status) {
  if (was_asked) _exit(0);
  if (WIFEXITED(status)) _exit(WEXITSTATUS(status));
  signal(WTERMSIG(status), SIG_DFL);
  raise(WTERMSIG(status));
  _exit(70);
}

int main(int argc, char **argv) {
  sigset_t watched, none;
  if (argc < 5 || strcmp(argv[3], "--") != 0) {
    fprintf(stderr, "use: skerry-tender -name MARK -- tender ARG...\n");
    return 2;
  }
  for (int i = 0; i < CLIENTS; i++) clients[i].fd = -1;
  sigemptyset(&none);
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigprocmask(SIG_BLOCK, &watched, NULL);
  int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  fcntl(MONITOR, F_SETFL, O_NONBLOCK);
  child = fork();
  if (child < 0) return 71;
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(CONSOLE, 0);
    dup2(CONSOLE, 1);
    close(CONSOLE);
    close(MONITOR);
    close(OWN);
    execv(argv[4], argv + 4);
    fprintf(stderr, "%s: %s\n", argv[4], strerror(errno));
    _exit(72);
  }
  int own = OWN;
  close(CONSOLE); /* its end is the program's end */
  for (;;) {
    struct pollfd waits[FIXED + CLIENTS] = {{signals, POLLIN, 0}, {MONITOR, POLLIN, 0}, {own, POLLIN, 0}};
    char rest[LINE];
    int status;
    for (int i = 0; i < CLIENTS; i++) waits[FIXED + i] = (struct pollfd){clients[i].fd, POLLIN, 0};
    if (poll(waits, FIXED + CLIENTS, -1) < 0) continue;
    if (waits[2].revents && read(OWN, rest, sizeof rest) <= 0) own = -1;
    if (waits[1].revents & POLLIN) accept_one();
    for (int i = 0; i < CLIENTS; i++)
      if (clients[i].fd >= 0 && waits[FIXED + i].fd == clients[i].fd && waits[FIXED + i].revents) take(&clients[i]);
    if (waits[0].revents) {
      struct signalfd_siginfo info;
      while (read(signals, &info, sizeof info) == sizeof info) continue;
      if (waitpid(child, &status, WNOHANG) == child) end_as(status);
    }
  }
}
