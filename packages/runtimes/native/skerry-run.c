/*
 * skerry-run: the parent of one QEMU, so that the guest outlives the agent and its end is never lost.
 *
 *   skerry-run --folder RUN --log DIR --uid N --gid N [--group N] [--tap NAME] [--cgroup PROCS-FILE]...
 *              [--open FILE | --disk FILE | --card TAP | --listen NAME | --swtpm DIR]... [--vnc NAME] [--mark TEXT] [--pages small] [--frames plain]
 *              [--end-limit MS] -- qemu ARG...
 *
 * It goes to the background, takes RUN/lock (one supervisor for a guest), enters the cgroups (QEMU alone those of the
 * processor, right after its start), opens what QEMU may not open itself, and starts QEMU as N:N with no new privileges and nothing else open:
 *   fd 3  the guest's serial console (a socket pair)   fd 4  the tap             fd 5  RUN/qmp, listening
 *   fd 6  our own line to QEMU's monitor               fd 7  and on, in their order: each --open (to read: QEMU takes
 *   /proc/self/fd/7), --disk (to read and write), --card (a further tap), --listen (a socket RUN/NAME, listening), --swtpm (the line to a TPM that
 *   is started as N:N in DIR with --mark as its name, and ends with QEMU)
 * Then it ends in the foreground: status 0 when QEMU was started, else a sentence on stderr.
 *
 * From then on: RUN/pid has QEMU's process id; DIR/log and DIR/log.1 keep the console (c) and what QEMU itself says (e),
 * bounded; RUN/console takes readers and writers of the console, and one that does not read loses output, for the guest
 * never waits; RUN/NAME of --vnc takes viewers of the screen, each handed to QEMU; RUN/exit has, at the end and written whole, `exited|signaled N MS REASON PANICKED`: the status or the signal,
 * the time, the reason of QEMU's SHUTDOWN event or `-`, and 1 where the guest told of a panic.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "run-log.h"
#include "run-monitor.h"

enum { IN = 16384, FIXED = 6, CLIENTS = 8, CGROUPS = 8, FILES = 80, FIRST_FILE = 7, HIGH = 128, START_LIMIT_S = 10 };
/*
 * QEMU 7.2 hangs now and then in monitor_cleanup() when a monitor is spoken to while it ends: then it is ended by force.
 * One that has disks to write back is given longer (--end-limit).
 */
static long long end_limit_ms = 2000;

static struct stream console = {.mark = 'c'}, errors = {.mark = 'e'};
static int clients[CLIENTS];
static int was_forced;

/* What QEMU gets besides: an option's first letter tells which. */
struct file {
  char kind;
  const char *name;
};

struct request {
  const char *folder, *tap, *vnc, *mark, *cgroups[CGROUPS];
  struct file files[FILES];
  int cgroup_count, file_count, small_pages, plain_frames;
  uid_t uid;
  gid_t gid;
  long group;
  char **qemu;
};
static const struct request *wanted;
static pid_t tpm;

static void die(const char *what) {
  fprintf(stderr, "skerry-run: %s: %s\n", what, strerror(errno));
  exit(70);
}

static void read_arguments(struct request *to, int argc, char **argv) {
  int at;
  to->group = -1;
  for (at = 1; at + 1 < argc && strcmp(argv[at], "--") != 0; at += 2) {
    const char *name = argv[at], *value = argv[at + 1];
    if (!strcmp(name, "--folder")) to->folder = value;
    else if (!strcmp(name, "--log")) log_dir = value;
    else if (!strcmp(name, "--tap")) to->tap = value;
    else if (!strcmp(name, "--uid")) to->uid = (uid_t)atol(value);
    else if (!strcmp(name, "--gid")) to->gid = (gid_t)atol(value);
    else if (!strcmp(name, "--group")) to->group = atol(value);
    else if (!strcmp(name, "--frames")) to->plain_frames = !strcmp(value, "plain");
    else if (!strcmp(name, "--pages")) to->small_pages = !strcmp(value, "small");
    else if (!strcmp(name, "--cgroup") && to->cgroup_count < CGROUPS) to->cgroups[to->cgroup_count++] = value;
    else if (!strcmp(name, "--vnc")) to->vnc = value;
    else if (!strcmp(name, "--mark")) to->mark = value;
    else if (!strcmp(name, "--end-limit")) end_limit_ms = atoll(value);
    else if (to->file_count < FILES && (!strcmp(name, "--open") || !strcmp(name, "--disk") || !strcmp(name, "--card") ||
                                        !strcmp(name, "--listen") || !strcmp(name, "--swtpm")))
      to->files[to->file_count++] = (struct file){name[2], value};
    else at = argc;
  }
  if (at + 1 >= argc || !to->folder || !log_dir || to->uid == 0) {
    fprintf(stderr, "use: skerry-run --folder RUN --log DIR --uid N --gid N [options] -- qemu ARG...\n");
    exit(2);
  }
  to->qemu = argv + at + 1;
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
  if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd) < 0 || rename(fresh, name) < 0) die(name);
}

/* `plain`: without virtio's header before each frame, which only QEMU wants. */
static int open_tap(const char *name, int plain) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | (plain ? 0 : IFF_VNET_HDR)};
  if (if_nametoindex(name) == 0) die(name); /* the kernel would make one that leads nowhere */
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) die("/dev/net/tun");
  snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
  if (ioctl(fd, TUNSETIFF, &request) < 0) die(name);
  return fd;
}

/* Writes a process id into a procs file; 0 is the writer itself. Returns whether it was taken. */
static int put_process(const char *path, pid_t process) {
  char text[32];
  int length = snprintf(text, sizeof text, "%d", (int)process), fd = open(path, O_WRONLY | O_CLOEXEC);
  int taken = fd >= 0 && write(fd, text, (size_t)length) == length;
  if (fd >= 0) close(fd);
  return taken;
}

static void enter(const char *path) {
  if (!put_process(path, 0)) die(path);
}

/*
 * Entering a v1 group takes milliseconds. What counts memory and processes must be entered before QEMU is there; what only
 * divides and measures processor time may be entered while QEMU starts.
 */
static int may_wait(const char *path) { return strstr(path, "/cgroup/cpu") != NULL; }


static void drop_rights(const struct request *want) {
  const struct rlimit no_core = {0, 0};
  gid_t groups[1] = {(gid_t)want->group};
  setrlimit(RLIMIT_CORE, &no_core);
  if (setgroups(want->group >= 0 ? 1 : 0, groups) < 0 || setgid(want->gid) < 0 || setuid(want->uid) < 0) _exit(71);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/*
 * Starts a TPM whose state is in `folder`, which belongs to the guests' user: reached as the working directory, for the
 * way to it is closed to that user. Returns QEMU's end of the line. It ends when that line is closed.
 */
static int start_swtpm(const struct request *want, const char *folder, int error_pipe) {
  static char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
  char *words[] = {(char *)(want->mark ? want->mark : "swtpm"), "socket", "--tpm2", "--tpmstate", "dir=.", "--ctrl",
                   "type=unixio,clientfd=3", "--flags", "startup-clear", "--terminate", NULL};
  int line[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0) die("socketpair");
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    int far = fcntl(line[1], F_DUPFD, HIGH), nothing = open("/dev/null", O_RDWR);
    if (chdir(folder) < 0) _exit(71);
    dup2(nothing, 0);
    dup2(nothing, 1);
    dup2(error_pipe, 2);
    dup2(far, 3);
    for (int fd = 4; fd <= far; fd++) close(fd);
    drop_rights(want);
    execve("/usr/bin/swtpm", words, environment);
    fprintf(stderr, "/usr/bin/swtpm: %s\n", strerror(errno));
    _exit(72);
  }
  tpm = child;
  close(line[1]);
  return line[0];
}

static int hand_over(const struct request *want, const struct file *file, int error_pipe) {
  if (file->kind == 'l') return listen_at(file->name);
  if (file->kind == 'c') return open_tap(file->name, 0);
  if (file->kind == 's') return start_swtpm(want, file->name, error_pipe);
  int fd = open(file->name, (file->kind == 'd' ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (fd < 0) die(file->name);
  return fd;
}

/* `give`: what becomes fd 3 and on, -1 for none. All are copied upwards first, so that none is overwritten. */
static void become_qemu(const struct request *want, const int *give, int count, int error_pipe) {
  /* One heap for all threads: each of QEMU's few would else take its own. */
  static char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "MALLOC_ARENA_MAX=1", NULL};
  int high[3 + FIRST_FILE + FILES];
  sigset_t none;
  for (int i = 0; i < count; i++) high[i] = give[i] < 0 ? -1 : fcntl(give[i], F_DUPFD, HIGH);
  dup2(error_pipe, 2);
  for (int fd = 3; fd < HIGH; fd++) close(fd);
  for (int i = 0; i < count; i++) {
    if (high[i] < 0) continue;
    dup2(high[i], 3 + i);
    close(high[i]);
  }
  drop_rights(want);
  /* QEMU asks for huge pages: one touched byte of a small guest would cost 2 MiB. */
  if (want->small_pages) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execve(want->qemu[0], want->qemu, environment);
  fprintf(stderr, "%s: %s\n", want->qemu[0], strerror(errno));
  _exit(72);
}

static void show(const char *data, size_t count) {
  take(&console, data, count);
  for (int i = 0; i < CLIENTS; i++) {
    if (clients[i] < 0 || send(clients[i], data, count, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == EAGAIN) continue;
    close(clients[i]);
    clients[i] = -1;
  }
}

static void finish(pid_t child, int serial, int monitor, int error_pipe) {
  char text[128], rest[IN];
  ssize_t got;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  while ((got = recv(serial, rest, sizeof rest, MSG_DONTWAIT)) > 0) show(rest, (size_t)got);
  while ((got = recv(monitor, rest, sizeof rest, MSG_DONTWAIT)) > 0) monitor_take(rest, (size_t)got);
  while ((got = read(error_pipe, rest, sizeof rest)) > 0) take(&errors, rest, (size_t)got);
  if (console.held > 0) emit(&console, 1);
  if (errors.held > 0) emit(&errors, 1);
  int by_signal = WIFSIGNALED(status) && !was_forced; /* forced after its last word: that is how it ended */
  snprintf(text, sizeof text, "%s %d %lld %s %d\n", by_signal ? "signaled" : "exited",
           by_signal ? WTERMSIG(status) : WIFSIGNALED(status) ? 0 : WEXITSTATUS(status), now_ms(CLOCK_REALTIME), shutdown_reason, panicked);
  write_whole("exit", text);
  unlink("console");
  unlink("qmp");
  for (int i = 0; i < wanted->file_count; i++)
    if (wanted->files[i].kind == 'l') unlink(wanted->files[i].name);
  if (wanted->vnc) unlink(wanted->vnc);
  exit(0);
}

static void accept_all(int door) {
  int fresh;
  while ((fresh = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
    int i = 0;
    while (i < CLIENTS && clients[i] >= 0) i++;
    if (i < CLIENTS) clients[i] = fresh;
    else close(fresh);
  }
}

/* The TPM is a child too. */
static int has_ended(pid_t child) {
  siginfo_t about = {0};
  if (tpm > 0 && waitpid(tpm, NULL, WNOHANG) == tpm) tpm = 0;
  return waitid(P_PID, (id_t)child, &about, WEXITED | WNOHANG | WNOWAIT) == 0 && about.si_pid == child;
}

static void serve(pid_t child, int serial, int monitor, int error_pipe, int door, int screen, int signals) {
  char data[IN];
  ssize_t got;
  for (;;) {
    struct pollfd waits[FIXED + CLIENTS] = {{signals, POLLIN, 0},    {serial, POLLIN, 0}, {monitor, POLLIN, 0},
                                            {error_pipe, POLLIN, 0}, {door, POLLIN, 0},   {screen, POLLIN, 0}};
    for (int i = 0; i < CLIENTS; i++) waits[FIXED + i] = (struct pollfd){clients[i], POLLIN, 0};
    long long left_ms = shutdown_ms == 0 || was_forced ? -1 : shutdown_ms + end_limit_ms - now_ms(CLOCK_MONOTONIC);
    if (shutdown_ms != 0 && !was_forced && left_ms <= 0) {
      was_forced = 1;
      kill(child, SIGKILL);
      left_ms = -1;
    }
    if (poll(waits, FIXED + CLIENTS, (int)left_ms) < 0) continue;
    if (waits[4].revents & POLLIN) accept_all(door); /* first: who has connected misses nothing that was printed since */
    if (waits[5].revents & POLLIN && monitor >= 0) show_screen(monitor, screen);
    if (waits[1].revents & POLLIN && (got = read(serial, data, sizeof data)) > 0) show(data, (size_t)got);
    else if (waits[1].revents & POLLHUP) finish(child, serial, monitor, error_pipe);
    /* One that was closed would be ready for ever. */
    if (waits[2].revents & POLLIN && (got = read(monitor, data, sizeof data)) > 0) monitor_take(data, (size_t)got);
    else if (waits[2].revents) monitor = -1;
    if (waits[3].revents & POLLIN && (got = read(error_pipe, data, sizeof data)) > 0) take(&errors, data, (size_t)got);
    else if (waits[3].revents) error_pipe = -1;
    for (int i = 0; i < CLIENTS; i++) {
      if (clients[i] < 0 || waits[FIXED + i].fd != clients[i] || waits[FIXED + i].revents == 0) continue;
      got = read(clients[i], data, sizeof data);
      if (got > 0) send(serial, data, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
      else if (got == 0 || errno != EAGAIN) close(clients[i]), clients[i] = -1;
    }
    if (waits[0].revents & POLLIN) {
      struct signalfd_siginfo info;
      if (read(signals, &info, sizeof info) == sizeof info && info.ssi_signo == SIGCHLD && has_ended(child))
        finish(child, serial, monitor, error_pipe);
    }
  }
}

/* The foreground waits for one byte; without it, the reason stands on stderr, which both have. */
static int go_to_background(void) {
  int ready[2];
  char byte;
  if (pipe2(ready, O_CLOEXEC) < 0) die("pipe");
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child > 0) {
    close(ready[1]);
    alarm(START_LIMIT_S);
    _exit(read(ready[0], &byte, 1) == 1 ? 0 : 70);
  }
  close(ready[0]);
  setsid();
  return ready[1];
}

int main(int argc, char **argv) {
  struct request want = {0};
  int serial[2], monitor[2], error_pipe[2], give[3 + FIRST_FILE + FILES], count = 0;
  char text[32];
  read_arguments(&want, argc, argv);
  wanted = &want;
  if (chdir(want.folder) < 0) die(want.folder);
  int ready = go_to_background();
  int lock = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0) die("lock");
  for (int i = 0; i < want.cgroup_count; i++)
    if (!may_wait(want.cgroups[i])) enter(want.cgroups[i]);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, serial) < 0 ||
      socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor) < 0 || pipe2(error_pipe, O_CLOEXEC) < 0)
    die("socketpair");
  int door = listen_at("console");
  fcntl(door, F_SETFL, O_NONBLOCK);
  int screen = want.vnc ? listen_at(want.vnc) : -1;
  if (screen >= 0) fcntl(screen, F_SETFL, O_NONBLOCK);
  give[count++] = serial[1];
  give[count++] = want.tap ? open_tap(want.tap, want.plain_frames) : -1;
  give[count++] = listen_at("qmp");
  give[count++] = monitor[1];
  for (int i = 0; i < want.file_count; i++) {
    give[count++] = hand_over(&want, &want.files[i], error_pipe[1]);
  }
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
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (signals < 0 || nothing < 0) die("signalfd");
  last_ms = now_ms(CLOCK_MONOTONIC);
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    dup2(nothing, 0);
    dup2(nothing, 1);
    become_qemu(&want, give, count, error_pipe[1]);
  }
  for (int i = 0; i < count; i++) {
    if (give[i] >= 0) close(give[i]);
  }
  close(error_pipe[1]);
  fcntl(error_pipe[0], F_SETFL, O_NONBLOCK);
  for (int i = 0; i < want.cgroup_count; i++) {
    if (!may_wait(want.cgroups[i]) || put_process(want.cgroups[i], child)) continue;
    kill(child, SIGKILL);
    die(want.cgroups[i]);
  }
  snprintf(text, sizeof text, "%d\n", (int)child);
  write_whole("pid", text);
  monitor_begin(monitor[0]);
  for (int fd = 0; fd < 3; fd++) dup2(nothing, fd);
  if (write(ready, "", 1) < 0) { /* nobody waits any more; the guest goes on */
  }
  close(ready);
  serve(child, serial[0], monitor[0], error_pipe[0], door, screen, signals);
}
