/*
 * skerry-system: the parent of one LXC monitor, so that the guest outlives the agent and its end is never lost.
 *
 *   skerry-system --folder RUN --log DIR [--cgroup PROCS-FILE]... --group FOLDER
 *                 [--layer DIR]... --image DIR (--upper DIR | --disk FILE) [--ids FIRST] [--root ro]
 *                 [--volume DIR --at PATH | --volume-ro DIR --at PATH]... [--netns FILE] -- lxc-start ARG...
 *   skerry-system --probe DIR      whether a root with moved owners can be made on the file system of the empty folder DIR
 *
 * It goes to the background, takes RUN/lock, enters the cgroups, and makes the guest's root in a mount namespace of its own,
 * so that no mount is left behind whatever becomes of it: at RUN/rootfs an overlay of the layers, the shared image, and a
 * writable layer (DIR/upper and DIR/work, or those in the ext4 of FILE). With --ids the image and the volumes are mounted
 * with owners moved by FIRST, of 65536 ids (mount_setattr(2)): one unpacked image serves guests of all id ranges.
 * Volumes are mounted inside, their places made where they are missing, links resolved within the root (openat2(2)).
 * Then it starts lxc-start in the foreground, its console on a pty of ours, its log on a pipe of ours, and ends in the
 * foreground once the guest's init runs: status 0, else a sentence on stderr.
 *
 * From then on: RUN/pid has init's process id; DIR/log and DIR/log.1 keep the console (c) and LXC's errors (e), bounded;
 * RUN/console takes readers and writers of the console, and one that does not read loses output; RUN/oom counts how often
 * the kernel wanted memory back from the group FOLDER; RUN/exit has, at the end and written whole,
 * `exited|signaled|monitor N MS`: init's status or signal, or the signal that ended the monitor, and the time.
 * When we end, the kernel ends the monitor, and with it init: a guest that nobody looks after does not go on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/loop.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

#include "run-log.h"
#include "system-root.h"

enum { IN = 16384, FIXED = 6, CLIENTS = 8, CGROUPS = 8, START_LIMIT_S = 60, MORE_ARGS = 8, LXC_LINE = 1024 };

static struct stream console = {.mark = 'c'}, errors = {.mark = 'e'};
static int clients[CLIENTS];

struct request {
  struct root root;
  const char *folder, *group, *netns, *cgroups[CGROUPS];
  int cgroup_count;
  char **lxc;
  int lxc_count;
};

/* What LXC's log told so far. */
static pid_t init;
static int init_signal, init_status, init_pidfd = -1;
static int exec_failed;
static char lxc_line[LXC_LINE];
static size_t lxc_held;

static void read_arguments(struct request *to, int argc, char **argv) {
  int at;
  struct root *root = &to->root;
  for (at = 1; at + 1 < argc && strcmp(argv[at], "--") != 0; at += 2) {
    const char *name = argv[at], *value = argv[at + 1];
    if (!strcmp(name, "--folder")) to->folder = value;
    else if (!strcmp(name, "--log")) log_dir = value;
    else if (!strcmp(name, "--group")) to->group = value;
    else if (!strcmp(name, "--netns")) to->netns = value;
    else if (!strcmp(name, "--cgroup") && to->cgroup_count < CGROUPS) to->cgroups[to->cgroup_count++] = value;
    else if (!strcmp(name, "--layer") && root->layer_count < LAYERS) root->layers[root->layer_count++] = value;
    else if (!strcmp(name, "--image")) root->image = value;
    else if (!strcmp(name, "--upper")) root->upper = value;
    else if (!strcmp(name, "--disk")) root->disk = value;
    else if (!strcmp(name, "--root")) root->read_only = !strcmp(value, "ro");
    else if (!strcmp(name, "--ids")) root->first_id = atol(value);
    else if ((!strcmp(name, "--volume") || !strcmp(name, "--volume-ro")) && root->volume_count < VOLUMES)
      root->volumes[root->volume_count++] = (struct volume){value, NULL, name[8] != 0};
    else if (!strcmp(name, "--at") && root->volume_count > 0) root->volumes[root->volume_count - 1].at = value;
    else at = argc;
  }
  if (at + 1 >= argc || !to->folder || !log_dir || !to->group || !root->image || (!root->upper && !root->disk)) {
    fprintf(stderr, "use: skerry-system --folder RUN --log DIR --group DIR --image DIR --upper DIR [options] -- lxc-start ARG...\n");
    exit(2);
  }
  to->lxc = argv + at + 1;
  to->lxc_count = argc - at - 1;
}

static int listen_at(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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

/* A pty whose near end LXC takes for the console of the guest; raw, for LXC has one with the guest as well. */
static int open_console(char *name, size_t size) {
  struct termios raw;
  struct winsize window = {.ws_row = 24, .ws_col = 80};
  int far = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), unlocked = 0, number;
  if (far < 0 || ioctl(far, TIOCSPTLCK, &unlocked) < 0 || ioctl(far, TIOCGPTN, &number) < 0) die("/dev/ptmx");
  snprintf(name, size, "/dev/pts/%d", number);
  /* Held open: without a near end, reading the far one fails until LXC has opened it. */
  int near = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (near < 0 || tcgetattr(near, &raw) < 0) die(name);
  cfmakeraw(&raw);
  tcsetattr(near, TCSANOW, &raw);
  ioctl(near, TIOCSWINSZ, &window);
  return far;
}

static void show(const char *data, size_t count) {
  take(&console, data, count);
  for (int i = 0; i < CLIENTS; i++) {
    if (clients[i] < 0 || send(clients[i], data, count, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == EAGAIN) continue;
    close(clients[i]);
    clients[i] = -1;
  }
}

/* LXC 4 and 5 (start.c, error.c): `… NOTICE start - … - Started "/sbin/init" with pid "7"`, `Child <7> ended on error (3)`. */
static void heed(const char *line) {
  const char *at;
  char text[32];
  if ((at = strstr(line, "\" with pid \""))) {
    init = atoi(at + 12);
    if (init_pidfd >= 0) close(init_pidfd);
    init_pidfd = (int)syscall(SYS_pidfd_open, init, 0);
    init_status = init_signal = 0;
    snprintf(text, sizeof text, "%d\n", (int)init);
    write_whole("pid", text);
  }
  if (strstr(line, "Failed to exec")) exec_failed = 1;
  if ((at = strstr(line, "ended on error ("))) init_status = atoi(at + 16);
  if ((at = strstr(line, "ended on signal ")) && (at = strchr(at, '('))) init_signal = atoi(at + 1);
  if ((at = strstr(line, " ERROR "))) {
    const char *words = strstr(at, " - ");
    words = words && (at = strstr(words + 3, " - ")) ? at + 3 : line;
    take(&errors, words, strlen(words));
    take(&errors, "\n", 1);
    if (init == 0) fprintf(stderr, "%s\n", words);
  }
}

static void take_lxc(const char *data, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (data[i] != '\n') {
      if (lxc_held < LXC_LINE - 1) lxc_line[lxc_held++] = data[i];
      continue;
    }
    lxc_line[lxc_held] = 0;
    lxc_held = 0;
    heed(lxc_line);
  }
}

/* Tells of want of memory in a group: an eventfd (v1, memory.oom_control), or the file itself, by POLLPRI (v2). */
struct want {
  int fd, is_v2;
  long count;
};

static struct want watch_memory(const char *group) {
  char path[4096], text[64];
  struct want found = {-1, 0, 0};
  snprintf(path, sizeof path, "%s/memory.events", group);
  if ((found.fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
    found.is_v2 = 1;
    return found;
  }
  snprintf(path, sizeof path, "%s/memory.oom_control", group);
  int watched = open(path, O_RDONLY | O_CLOEXEC);
  snprintf(path, sizeof path, "%s/cgroup.event_control", group);
  int control = open(path, O_WRONLY | O_CLOEXEC);
  int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int length = snprintf(text, sizeof text, "%d %d", bell, watched);
  if (watched >= 0 && control >= 0 && bell >= 0 && write(control, text, (size_t)length) == length) found.fd = bell;
  if (watched >= 0) close(watched);
  if (control >= 0) close(control);
  return found;
}

static void count_wants(struct want *from, const char *group) {
  char text[512];
  if (from->is_v2) {
    ssize_t got = pread(from->fd, text, sizeof text - 1, 0);
    if (got < 0) {
      from->fd = -1; /* the group is gone */
      return;
    }
    text[got] = 0;
    const char *at = strstr(text, "oom_kill ");
    long count = at ? atol(at + 9) : 0;
    if (count == from->count) return;
    from->count = count;
  } else {
    unsigned long long rung;
    if (read(from->fd, &rung, sizeof rung) != sizeof rung) return;
    if (access(group, F_OK) < 0) { /* rung once more as the group goes */
      from->fd = -1;
      return;
    }
    from->count += (long)rung;
  }
  snprintf(text, sizeof text, "%ld\n", from->count);
  write_whole("oom", text);
}

static void finish(pid_t child, int far, int lxc_log) {
  char text[128], rest[IN];
  ssize_t got;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  while ((got = read(lxc_log, rest, sizeof rest)) > 0) take_lxc(rest, (size_t)got);
  while ((got = read(far, rest, sizeof rest)) > 0) show(rest, (size_t)got);
  if (console.held > 0) emit(&console, 1);
  if (errors.held > 0) emit(&errors, 1);
  const char *how = WIFSIGNALED(status) ? "monitor" : init_signal ? "signaled" : "exited";
  int number = WIFSIGNALED(status) ? WTERMSIG(status) : init_signal ? init_signal : init_status;
  snprintf(text, sizeof text, "%s %d %lld\n", how, number, now_ms(CLOCK_REALTIME));
  write_whole("exit", text);
  unlink("console");
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

static int has_ended(pid_t child) {
  siginfo_t about = {0};
  return waitid(P_PID, (id_t)child, &about, WEXITED | WNOHANG | WNOWAIT) == 0 && about.si_pid == child;
}

/* Whether init is another program than LXC by now: it executes what it was told to. */
static int has_begun(void) {
  char path[64];
  struct stat of_init, of_lxc;
  snprintf(path, sizeof path, "/proc/%d/exe", (int)init);
  return stat(path, &of_init) == 0 && stat("/usr/bin/lxc-start", &of_lxc) == 0 &&
         (of_init.st_ino != of_lxc.st_ino || of_init.st_dev != of_lxc.st_dev);
}

static int ready_line = -1;

static void tell_ready(void) {
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; fd++) dup2(nothing, fd);
  close(nothing);
  if (write(ready_line, "", 1) < 0) { /* nobody waits any more; the guest goes on */
  }
  close(ready_line);
  ready_line = -1;
}

static void serve(const struct request *want, pid_t child, int far, int lxc_log, int door, int signals) {
  char data[IN];
  ssize_t got;
  struct want memory = {-1, 0, 0};
  for (;;) {
    struct pollfd waits[FIXED + CLIENTS] = {{signals, POLLIN, 0}, {far, POLLIN, 0}, {lxc_log, POLLIN, 0}, {door, POLLIN, 0},
                                            {memory.fd, memory.is_v2 ? POLLPRI : POLLIN, 0}};
    for (int i = 0; i < CLIENTS; i++) waits[FIXED + i] = (struct pollfd){clients[i], POLLIN, 0};
    waits[5].fd = -1;
    if (poll(waits, FIXED + CLIENTS, init > 0 && ready_line >= 0 ? 1 : -1) < 0) continue;
    if (waits[3].revents & POLLIN) accept_all(door); /* first: who has connected misses nothing that was printed since */
    if (waits[1].revents & POLLIN && (got = read(far, data, sizeof data)) > 0) show(data, (size_t)got);
    if (waits[2].revents & POLLIN && (got = read(lxc_log, data, sizeof data)) > 0) {
      pid_t before = init;
      take_lxc(data, (size_t)got);
      if (init != before) memory = watch_memory(want->group);
    } else if (waits[2].revents) lxc_log = -1;
    if (waits[4].revents) count_wants(&memory, want->group);
    if (ready_line >= 0 && init > 0 && has_begun()) tell_ready();
    for (int i = 0; i < CLIENTS; i++) {
      if (clients[i] < 0 || waits[FIXED + i].fd != clients[i] || waits[FIXED + i].revents == 0) continue;
      got = read(clients[i], data, sizeof data);
      if (got > 0) {
        if (write(far, data, (size_t)got) < 0) { /* nobody reads there: it is lost */
        }
      } else if (got == 0 || errno != EAGAIN) close(clients[i]), clients[i] = -1;
    }
    if (waits[0].revents & POLLIN) {
      struct signalfd_siginfo info;
      if (read(signals, &info, sizeof info) != sizeof info || info.ssi_signo != SIGCHLD || !has_ended(child)) continue;
      while (lxc_log >= 0 && (got = read(lxc_log, data, sizeof data)) > 0) take_lxc(data, (size_t)got);
      if (memory.fd >= 0) count_wants(&memory, want->group);
      if (ready_line >= 0 && (init == 0 || exec_failed)) {
        fprintf(stderr, "%s\n", exec_failed ? "its init could not be executed" : "LXC ended before init was started");
        exit(70);
      }
      if (ready_line >= 0) tell_ready(); /* it ran, and was quick */
      finish(child, far, lxc_log);
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

static void become_lxc(const struct request *want, const char *pty, int log_pipe, pid_t parent) {
  /* LXC needs apparmor_parser at most; where it finds newuidmap it insists on ranges in /etc/subuid, which root does not need. */
  static char *environment[] = {"PATH=/usr/sbin:/sbin", "LC_ALL=C", NULL};
  char *words[want->lxc_count + MORE_ARGS], log_path[32];
  sigset_t none;
  int nothing = open("/dev/null", O_RDWR), count = 0;
  dup2(nothing, 0);
  dup2(nothing, 1);
  dup2(nothing, 2);
  dup2(log_pipe, 3);
  for (int fd = 4; fd < 64; fd++) close(fd);
  snprintf(log_path, sizeof log_path, "/proc/self/fd/3");
  char *more[] = {want->lxc[0], "-F", "-c", (char *)pty, "-o", log_path, "-l", "INFO"};
  for (; count < MORE_ARGS; count++) words[count] = more[count];
  for (int i = 1; i < want->lxc_count; i++) words[count++] = want->lxc[i];
  words[count] = NULL;
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != parent) _exit(71);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execve(words[0], words, environment);
  _exit(72);
}

int main(int argc, char **argv) {
  struct request want = {0};
  int lxc_log[2];
  char pty[32];
  if (argc == 3 && !strcmp(argv[1], "--probe")) {
    struct root tried = {.image = "lower", .upper = "over", .first_id = IDS};
    if (chdir(argv[2]) < 0) die(argv[2]);
    make_folder("lower", 0755);
    make_folder("over", 0755);
    make_root(&tried);
    return 0;
  }
  read_arguments(&want, argc, argv);
  if (chdir(want.folder) < 0) die(want.folder);
  ready_line = go_to_background();
  int lock = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0) die("lock");
  for (int i = 0; i < want.cgroup_count; i++) {
    int fd = open(want.cgroups[i], O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1) die(want.cgroups[i]);
    close(fd);
  }
  make_root(&want.root);
  int door = listen_at("console");
  if (want.netns) {
    int netns = open(want.netns, O_RDONLY | O_CLOEXEC);
    if (netns < 0 || setns(netns, CLONE_NEWNET) < 0) die(want.netns);
    close(netns);
  }
  if (pipe2(lxc_log, O_CLOEXEC) < 0) die("pipe");
  fcntl(lxc_log[0], F_SETFL, O_NONBLOCK);
  int far = open_console(pty, sizeof pty);
  for (int i = 0; i < CLIENTS; i++) clients[i] = -1;
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGHUP);
  sigaddset(&watched, SIGINT);
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_BLOCK, &watched, NULL);
  int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) die("signalfd");
  last_ms = now_ms(CLOCK_MONOTONIC);
  pid_t self = getpid(), child = fork();
  if (child < 0) die("fork");
  if (child == 0) become_lxc(&want, pty, lxc_log[1], self);
  close(lxc_log[1]);
  serve(&want, child, far, lxc_log[0], door, signals);
}
