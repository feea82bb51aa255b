/*
 * skerry-pty COLUMNS ROWS -- PROGRAM ARG...: runs a program on a terminal of its own (pty(7)), for callers that have pipes. It
 * is for programs that relay a terminal from elsewhere, as lxc-attach(1): their output is not processed once more, and input
 * waits until they have made the terminal raw, for doing that they throw away what is there already.
 * Standard input goes to the terminal, what the program writes to standard output; fd 3 takes lines `COLUMNS ROWS` when the
 * size changes. Ends with the program's status, 128 + the signal that ended it; the program is ended with us.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { ROOM = 16384, LOOK_EVERY_MS = 2 };

static void die(const char *what) {
  fprintf(stderr, "skerry-pty: %s: %s\n", what, strerror(errno));
  exit(70);
}

static void resize(int terminal, const char *text) {
  struct winsize size = {0};
  if (sscanf(text, "%hu %hu", &size.ws_col, &size.ws_row) == 2) ioctl(terminal, TIOCSWINSZ, &size);
}

static int is_raw(int terminal) {
  struct termios now;
  return tcgetattr(terminal, &now) < 0 || !(now.c_lflag & ICANON);
}

static void pass_output_on(int terminal) {
  struct termios now;
  if (tcgetattr(terminal, &now) < 0) die("terminal");
  now.c_oflag &= ~(tcflag_t)OPOST;
  if (tcsetattr(terminal, TCSANOW, &now) < 0) die("terminal");
}

static int write_all(int fd, const char *data, ssize_t count) {
  while (count > 0) {
    ssize_t wrote = write(fd, data, (size_t)count);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return 0;
    data += wrote;
    count -= wrote;
  }
  return 1;
}

int main(int argc, char **argv) {
  char name[32], size[64], data[ROOM];
  int unlocked = 0, number, status, input = 0, control = 3;
  ssize_t got;
  if (argc < 5 || strcmp(argv[3], "--") != 0) {
    fprintf(stderr, "use: skerry-pty COLUMNS ROWS -- PROGRAM ARG...\n");
    return 2;
  }
  int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0 || ioctl(terminal, TIOCSPTLCK, &unlocked) < 0 || ioctl(terminal, TIOCGPTN, &number) < 0) die("/dev/ptmx");
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  snprintf(size, sizeof size, "%s %s", argv[1], argv[2]);
  resize(terminal, size);
  pass_output_on(terminal);
  fcntl(control, F_SETFD, FD_CLOEXEC);
  signal(SIGPIPE, SIG_IGN);
  pid_t parent = getpid(), child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent) _exit(71);
    setsid();
    int near = open(name, O_RDWR); /* becomes the controlling terminal */
    if (near < 0) die(name);
    for (int fd = 0; fd < 3; fd++) dup2(near, fd);
    if (near > 2) close(near);
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[4], argv + 4);
    _exit(127);
  }
  for (int raw = 0;;) {
    if (!raw) raw = is_raw(terminal);
    struct pollfd waits[] = {{terminal, POLLIN, 0}, {raw ? input : -1, POLLIN, 0}, {control, POLLIN, 0}};
    if (poll(waits, 3, raw ? -1 : LOOK_EVERY_MS) < 0) continue;
    if (waits[2].revents && (got = read(control, data, sizeof data - 1)) > 0) {
      data[got] = 0;
      for (char *line = strtok(data, "\n"); line; line = strtok(NULL, "\n")) resize(terminal, line);
    } else if (waits[2].revents) control = -1;
    if (waits[1].revents && (got = read(input, data, sizeof data)) > 0) write_all(terminal, data, got);
    else if (waits[1].revents) {
      input = -1;
      if (write(terminal, "\4", 1) < 0) { /* end of input, as ^D says it (termios(3), VEOF) */
      }
    }
    if (waits[0].revents && ((got = read(terminal, data, sizeof data)) <= 0 || !write_all(1, data, got))) break;
  }
  close(terminal);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
