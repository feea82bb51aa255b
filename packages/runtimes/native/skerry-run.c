/*
 * skerry-run: the parent of one QEMU, so that the guest outlives the agent and its end is never lost.
 *
 *   skerry-run --folder RUN --log DIR --uid N --gid N [--group N] [--tap NAME] [--cgroup PROCS-FILE]... [--open FILE]...
 *              -- qemu ARG...
 *
 * It enters the cgroups, takes RUN/lock (one supervisor for a guest), opens what QEMU may not open itself once it has
 * dropped its rights (the tap: fd 4, /dev/kvm stays with the group), and starts it as N:N with nothing else open:
 *   fd 3  the guest's serial console (a socket pair)      fd 4  the tap      fd 5  RUN/qmp, listening
 *   fd 6  the first --open, and so on: files that QEMU could not reach by their path (it takes /proc/self/fd/6)
 * Then: RUN/pid has QEMU's process id; DIR/log and DIR/log.1 keep the console's lines, bounded in size and in rate, in
 * skerry-log's form; RUN/console takes readers and writers of the console; RUN/exit has `exited N MS` or `signaled N MS`
 * at the end, written whole. A reader that does not read loses output, the guest never waits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT = 5 << 20, LINE = 4096, IN = 16384, CLIENTS = 8, CGROUPS = 8, FILES = 4 };
/* A guest that prints for ever must not wear out the disk: so much a second, so much at once. */
enum { RATE = 256 << 10, BURST = 2 << 20 };

static const char *log_dir;
static int log_file = -1;
static off_t log_size;
static char line[LINE];
static size_t held;
static long long budget = BURST, dropped;
static long long last_ms;
static int clients[CLIENTS];
static int files[FILES], file_count;

static void die(const char *what) {
  fprintf(stderr, "skerry-run: %s: %s\n", what, strerror(errno));
  exit(70);
}

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
  if (log_file >= 0) close(log_file);
  rename(from, to);
  open_log();
}

static void write_line(const char *text, size_t length) {
  char out[LINE + 64];
  int head = snprintf(out, sizeof out, "%lld c ", now_ms(CLOCK_REALTIME));
  memcpy(out + head, text, length);
  out[(size_t)head + length] = '\n';
  size_t all = (size_t)head + length + 1;
  if (log_file < 0) open_log();
  if (log_size + (off_t)all > LIMIT) rotate();
  if (log_file < 0) return;
  ssize_t wrote = write(log_file, out, all); /* what a full disk does not take is lost */
  if (wrote > 0) log_size += wrote;
}

/* The last line says how the guest ended: it is never dropped. */
static void emit(int is_last) {
  long long now = now_ms(CLOCK_MONOTONIC);
  budget += (now - last_ms) * RATE / 1000;
  last_ms = now;
  if (budget > BURST) budget = BURST;
  int is_exit = held >= 5 && memcmp(line, "EXIT ", 5) == 0;
  if (budget < (long long)held && !is_exit && !is_last) dropped++;
  else {
    if (dropped > 0 && budget > 0) {
      char note[96];
      int length = snprintf(note, sizeof note, "skerry: %lld lines were dropped, the console is too fast", dropped);
      dropped = 0;
      write_line(note, (size_t)length);
    }
    write_line(line, held);
    budget -= (long long)held + 16;
  }
  held = 0;
}

static void take(const char *data, ssize_t count) {
  for (ssize_t i = 0; i < count; i++) {
    if (data[i] == '\n') emit(0);
    else if (data[i] != '\r') {
      line[held++] = data[i];
      if (held == LINE) emit(0);
    }
  }
  for (int i = 0; i < CLIENTS; i++) {
    if (clients[i] >= 0 && send(clients[i], data, (size_t)count, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
      close(clients[i]);
      clients[i] = -1;
    }
  }
}

static int listen_at(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
  unlink(name);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die(name);
  if (chmod(name, 0600) < 0 || listen(fd, 4) < 0) die(name);
  return fd;
}

static void write_whole(const char *name, const char *text) {
  char fresh[64];
  snprintf(fresh, sizeof fresh, "%s.new", name);
  int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) die(name);
  close(fd);
  if (rename(fresh, name) < 0) die(name);
}

static int open_tap(const char *name) {
  struct ifreq request;
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  memset(&request, 0, sizeof request);
  if (fd < 0) die("/dev/net/tun");
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
  if (ioctl(fd, TUNSETIFF, &request) < 0) die(name);
  return fd;
}

/* Moves fds to 3, 4 and 5 and keeps nothing else. */
static void start_qemu(char **argv, int console, int tap, int qmp, uid_t uid, gid_t gid, long group) {
  static char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
  gid_t groups[1] = {(gid_t)group};
  sigset_t none;
  int high_console = fcntl(console, F_DUPFD, 20), high_tap = tap < 0 ? -1 : fcntl(tap, F_DUPFD, 20);
  int high_qmp = fcntl(qmp, F_DUPFD, 20), high[FILES];
  for (int i = 0; i < file_count; i++) high[i] = fcntl(files[i], F_DUPFD, 20);
  dup2(high_console, 3);
  if (high_tap >= 0) dup2(high_tap, 4);
  dup2(high_qmp, 5);
  for (int i = 0; i < file_count; i++) dup2(high[i], 6 + i);
  for (int fd = 6 + file_count; fd < 64; fd++) close(fd);
  if (high_tap < 0) close(4);
  if (setgroups(group >= 0 ? 1 : 0, groups) < 0 || setgid(gid) < 0 || setuid(uid) < 0) _exit(71);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  execve(argv[0], argv, environment);
  fprintf(stderr, "skerry-run: %s: %s\n", argv[0], strerror(errno));
  _exit(72);
}

static void finish(pid_t child, int console) {
  char text[96], rest[IN];
  ssize_t got;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  while ((got = recv(console, rest, sizeof rest, MSG_DONTWAIT)) > 0) take(rest, got);
  if (held > 0) emit(1);
  snprintf(text, sizeof text, "%s %d %lld\n", WIFSIGNALED(status) ? "signaled" : "exited",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), now_ms(CLOCK_REALTIME));
  write_whole("exit", text);
  unlink("console");
  unlink("qmp");
  exit(0);
}

int main(int argc, char **argv) {
  const char *folder = NULL, *tap_name = NULL, *cgroups[CGROUPS];
  int cgroup_count = 0, at;
  uid_t uid = 0;
  gid_t gid = 0;
  long group = -1;
  for (at = 1; at + 1 < argc && strcmp(argv[at], "--") != 0; at += 2) {
    const char *name = argv[at], *value = argv[at + 1];
    if (!strcmp(name, "--folder")) folder = value;
    else if (!strcmp(name, "--log")) log_dir = value;
    else if (!strcmp(name, "--tap")) tap_name = value;
    else if (!strcmp(name, "--uid")) uid = (uid_t)atol(value);
    else if (!strcmp(name, "--gid")) gid = (gid_t)atol(value);
    else if (!strcmp(name, "--group")) group = atol(value);
    else if (!strcmp(name, "--cgroup") && cgroup_count < CGROUPS) cgroups[cgroup_count++] = value;
    else if (!strcmp(name, "--open") && file_count < FILES) {
      if ((files[file_count++] = open(value, O_RDONLY | O_CLOEXEC)) < 0) die(value);
    } else at = argc;
  }
  if (at + 1 >= argc || !folder || !log_dir || uid == 0) {
    fprintf(stderr, "use: skerry-run --folder RUN --log DIR --uid N --gid N [options] -- qemu ARG...\n");
    return 2;
  }
  if (chdir(folder) < 0) die(folder);
  int lock = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0) die("lock");
  for (int i = 0; i < cgroup_count; i++) {
    int fd = open(cgroups[i], O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1) die(cgroups[i]);
    close(fd);
  }
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die("socketpair");
  int tap = tap_name ? open_tap(tap_name) : -1;
  int qmp = listen_at("qmp"), door = listen_at("console");
  for (int i = 0; i < CLIENTS; i++) clients[i] = -1;

  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGHUP);
  sigaddset(&watched, SIGINT);
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_BLOCK, &watched, NULL);
  int signals = signalfd(-1, &watched, SFD_CLOEXEC);
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) start_qemu(argv + at + 1, pair[1], tap, qmp, uid, gid, group);
  close(pair[1]);
  close(qmp);
  if (tap >= 0) close(tap);
  char text[32];
  snprintf(text, sizeof text, "%d\n", (int)child);
  write_whole("pid", text);
  last_ms = now_ms(CLOCK_MONOTONIC);

  for (;;) {
    struct pollfd waits[3 + CLIENTS] = {{signals, POLLIN, 0}, {pair[0], POLLIN, 0}, {door, POLLIN, 0}};
    for (int i = 0; i < CLIENTS; i++) waits[3 + i] = (struct pollfd){clients[i], POLLIN, 0};
    if (poll(waits, 3 + CLIENTS, -1) < 0) continue;
    char data[IN];
    ssize_t got;
    if (waits[1].revents & POLLIN && (got = read(pair[0], data, sizeof data)) > 0) take(data, got);
    else if (waits[1].revents & POLLHUP) finish(child, pair[0]);
    if (waits[2].revents & POLLIN) {
      int fresh = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), i = 0;
      while (i < CLIENTS && clients[i] >= 0) i++;
      if (fresh >= 0 && i < CLIENTS) clients[i] = fresh;
      else if (fresh >= 0) close(fresh);
    }
    for (int i = 0; i < CLIENTS; i++) {
      if (clients[i] < 0 || waits[3 + i].fd != clients[i] || waits[3 + i].revents == 0) continue;
      got = read(clients[i], data, sizeof data);
      if (got > 0) send(pair[0], data, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
      else if (got == 0 || errno != EAGAIN) close(clients[i]), clients[i] = -1;
    }
    if (waits[0].revents & POLLIN) {
      struct signalfd_siginfo info;
      if (read(signals, &info, sizeof info) == sizeof info && info.ssi_signo == SIGCHLD) finish(child, pair[0]);
    }
  }
}
