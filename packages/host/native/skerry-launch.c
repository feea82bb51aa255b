/*
 * skerry-launch: starts short programs for a large process. A fork of a Node.js process copies its page tables and stops it
 * for about 2 ms; this small one starts the same program in 0.2 ms, while the large one works on.
 *
 * It reads requests from fd 0 and writes answers to fd 1, until fd 0 ends; numbers are little-endian.
 *   request   u32 length of what follows, u32 id, u8 what: 1 run, 2 kill
 *             run: u32 most bytes of output, u16 count of arguments, the arguments with a NUL each (the first is the program,
 *             looked up in PATH), then the program's input
 *   answer    u32 length of what follows, u32 id, u8 how: 0 exited, 1 by a signal, 2 not started, 3 printed too much;
 *             i32 status, signal or errno; u32 length of stdout, stdout, stderr
 * A program has the environment that this one was started with, and runs in `/`. An answer comes when the program has ended and
 * nobody holds its output open. What still runs when fd 0 ends goes on, without input and output.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_REQUEST = 64 << 20, MOST_ARGUMENTS = 4096, CHUNK = 65536 };
enum { RUN = 1, KILL = 2 };
enum { EXITED, SIGNALED, NOT_STARTED, TOO_MUCH };

struct buffer {
  char *data;
  size_t length, room;
};

struct job {
  struct job *next;
  uint32_t id, cap;
  pid_t pid; /* 0: it has ended */
  int status, too_much, in, out[2];
  struct buffer input, output[2];
  size_t written;
};

static struct job *jobs;
extern char **environ;

static void die(const char *what) {
  fprintf(stderr, "skerry-launch: %s: %s\n", what, strerror(errno));
  exit(70);
}

static void append(struct buffer *to, const void *data, size_t count) {
  if (to->length + count > to->room) {
    to->room = (to->length + count) * 2;
    if (!(to->data = realloc(to->data, to->room))) die("memory");
  }
  memcpy(to->data + to->length, data, count);
  to->length += count;
}

static void put32(struct buffer *to, uint32_t value) {
  unsigned char bytes[4] = {value, value >> 8, value >> 16, value >> 24};
  append(to, bytes, 4);
}

static uint32_t get32(const char *from) {
  const unsigned char *at = (const unsigned char *)from;
  return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void answer(uint32_t id, int how, int number, const struct buffer *output) {
  struct buffer text = {0};
  size_t out = output ? output[0].length : 0, err = output ? output[1].length : 0, sent = 0;
  char kind = (char)how;
  put32(&text, (uint32_t)(13 + out + err));
  put32(&text, id);
  append(&text, &kind, 1);
  put32(&text, (uint32_t)number);
  put32(&text, (uint32_t)out);
  if (out) append(&text, output[0].data, out);
  if (err) append(&text, output[1].data, err);
  while (sent < text.length) {
    ssize_t count = write(1, text.data + sent, text.length - sent);
    if (count < 0 && errno != EINTR) exit(0); /* nobody is there any more */
    if (count > 0) sent += (size_t)count;
  }
  free(text.data);
}

static void shut(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* Ours are not blocking and close on exec; the program's ends are as it expects them. */
static int start(struct job *job, char **arguments) {
  int in[2], out[2], err[2], failed;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  if (pipe2(in, O_CLOEXEC) < 0) return errno;
  if (pipe2(out, O_CLOEXEC) < 0) {
    failed = errno;
    close(in[0]), close(in[1]);
    return failed;
  }
  if (pipe2(err, O_CLOEXEC) < 0) {
    failed = errno;
    close(in[0]), close(in[1]), close(out[0]), close(out[1]);
    return failed;
  }
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  failed = posix_spawnp(&job->pid, arguments[0], &actions, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(in[0]), close(out[1]), close(err[1]);
  if (failed) {
    job->pid = 0;
    close(in[1]), close(out[0]), close(err[0]);
    return failed;
  }
  job->in = in[1], job->out[0] = out[0], job->out[1] = err[0];
  fcntl(job->in, F_SETFL, O_NONBLOCK);
  fcntl(job->out[0], F_SETFL, O_NONBLOCK);
  fcntl(job->out[1], F_SETFL, O_NONBLOCK);
  return 0;
}

static void feed(struct job *job) {
  while (job->in >= 0 && job->written < job->input.length) {
    ssize_t count = write(job->in, job->input.data + job->written, job->input.length - job->written);
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) break; /* it does not want the rest */
    job->written += (size_t)count;
  }
  shut(&job->in);
}

static void drain(struct job *job, int which) {
  static char data[CHUNK];
  ssize_t count;
  while ((count = read(job->out[which], data, sizeof data)) > 0) {
    if (job->output[which].length + (size_t)count > job->cap) {
      job->too_much = 1;
      if (job->pid) kill(job->pid, SIGKILL);
      shut(&job->out[which]);
      return;
    }
    append(&job->output[which], data, (size_t)count);
  }
  if (count == 0 || errno != EAGAIN) shut(&job->out[which]);
}

static void end_if_over(struct job **at) {
  struct job *job = *at;
  if (job->pid || (!job->too_much && (job->out[0] >= 0 || job->out[1] >= 0))) return;
  int by_signal = WIFSIGNALED(job->status);
  int how = job->too_much ? TOO_MUCH : by_signal ? SIGNALED : EXITED;
  answer(job->id, how, by_signal ? WTERMSIG(job->status) : WEXITSTATUS(job->status), job->output);
  shut(&job->in), shut(&job->out[0]), shut(&job->out[1]);
  free(job->input.data), free(job->output[0].data), free(job->output[1].data);
  *at = job->next;
  free(job);
}

static void take_run(uint32_t id, const char *body, size_t length) {
  static char *arguments[MOST_ARGUMENTS + 1];
  size_t at = 6;
  unsigned count = length < 6 ? 0 : (unsigned char)body[4] | (unsigned char)body[5] << 8;
  if (count == 0 || count > MOST_ARGUMENTS) return answer(id, NOT_STARTED, EINVAL, NULL);
  for (unsigned i = 0; i < count; i++) {
    const char *end = memchr(body + at, 0, length - at);
    if (!end) return answer(id, NOT_STARTED, EINVAL, NULL);
    arguments[i] = (char *)body + at;
    at = (size_t)(end - body) + 1;
  }
  arguments[count] = NULL;
  struct job *job = calloc(1, sizeof *job);
  if (!job) die("memory");
  *job = (struct job){.id = id, .cap = get32(body), .in = -1, .out = {-1, -1}};
  int failed = start(job, arguments);
  if (failed) {
    free(job);
    return answer(id, NOT_STARTED, failed, NULL);
  }
  if (length > at) append(&job->input, body + at, length - at);
  feed(job);
  job->next = jobs;
  jobs = job;
}

static void take(const char *frame, size_t length) {
  uint32_t id = get32(frame);
  if (frame[4] == RUN) return take_run(id, frame + 5, length - 5);
  for (struct job *job = jobs; job; job = job->next)
    if (frame[4] == KILL && job->id == id && job->pid) kill(job->pid, SIGKILL);
}

static void read_requests(struct buffer *held) {
  static char data[CHUNK];
  ssize_t count = read(0, data, sizeof data);
  if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) exit(0);
  if (count <= 0) return;
  append(held, data, (size_t)count);
  size_t at = 0;
  while (held->length - at >= 4) {
    uint32_t length = get32(held->data + at);
    if (length < 5 || length > MOST_REQUEST) errno = EPROTO, die("request");
    if (held->length - at - 4 < length) break;
    take(held->data + at + 4, length);
    at += 4 + length;
  }
  memmove(held->data, held->data + at, held->length - at);
  held->length -= at;
}

static void reap(void) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
    for (struct job *job = jobs; job; job = job->next)
      if (job->pid == pid) job->pid = 0, job->status = status;
}

int main(void) {
  struct buffer held = {0};
  struct pollfd *waits = NULL;
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigprocmask(SIG_BLOCK, &watched, NULL);
  int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0 || chdir("/") < 0) die("start");
  signal(SIGPIPE, SIG_IGN);
  setsid(); /* a Ctrl-C on the terminal is meant for the large one, which ends this one */
  for (;;) {
    size_t count = 2, at = 2;
    for (struct job *job = jobs; job; job = job->next) count += 3;
    if (!(waits = realloc(waits, count * sizeof *waits))) die("memory");
    waits[0] = (struct pollfd){0, POLLIN, 0};
    waits[1] = (struct pollfd){signals, POLLIN, 0};
    for (struct job *job = jobs; job; job = job->next) {
      waits[at++] = (struct pollfd){job->in, POLLOUT, 0};
      waits[at++] = (struct pollfd){job->out[0], POLLIN, 0};
      waits[at++] = (struct pollfd){job->out[1], POLLIN, 0};
    }
    if (poll(waits, count, -1) < 0) continue;
    at = 2;
    for (struct job *job = jobs; job; job = job->next, at += 3) {
      if (waits[at].revents) feed(job);
      if (waits[at + 1].revents) drain(job, 0);
      if (waits[at + 2].revents) drain(job, 1);
    }
    if (waits[1].revents) {
      struct signalfd_siginfo info;
      while (read(signals, &info, sizeof info) > 0) continue;
      reap();
    }
    for (struct job **job = &jobs; *job;) {
      struct job *before = *job;
      end_if_over(job);
      if (*job == before) job = &before->next;
    }
    if (waits[0].revents) read_requests(&held);
  }
}
