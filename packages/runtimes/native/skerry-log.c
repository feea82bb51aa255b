/*
 * skerry-log --folder DIR: keeps what a container writes, bounded. containerd's shim starts it (binary:// logging,
 * github.com/containerd/containerd/blob/release/1.6/runtime/v2/logging): fd 3 is the container's stdout, fd 4 its
 * stderr, and closing fd 5 says "ready". It belongs to the container, not to Skerry, and ends when both are closed.
 *
 * A line in DIR/log: `<milliseconds since the epoch> <o|e> <text>\n`; at LIMIT bytes DIR/log becomes DIR/log.1.
 * It never stalls the writer: what the disk does not take is dropped. It never ends on SIGTERM, for the rest of the
 * output is still in the pipe then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT = 5 * 1024 * 1024, LINE = 16 * 1024, OUT = 64 * 1024, IN = 64 * 1024, HEAD = 32 };

struct stream {
  int fd;
  char mark;
  size_t held;
  char line[LINE];
};

static struct stream streams[2] = {{.fd = 3, .mark = 'o'}, {.fd = 4, .mark = 'e'}};
static char out[OUT], in[IN];
static size_t filled;
static int file = -1;
static off_t size;
static long long now_ms;

static void open_log(void) {
  struct stat about;
  file = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  size = file >= 0 && fstat(file, &about) == 0 ? about.st_size : 0;
}

static void flush(void) {
  size_t at = 0;
  if (file < 0) open_log();
  if (file >= 0 && size + (off_t)filled > LIMIT) {
    close(file);
    rename("log", "log.1");
    open_log();
  }
  while (file >= 0 && at < filled) {
    ssize_t wrote = write(file, out + at, filled - at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) break;
    at += (size_t)wrote;
    size += wrote;
  }
  filled = 0;
}

static void emit(struct stream *from) {
  char head[HEAD];
  int length = snprintf(head, sizeof head, "%lld %c ", now_ms, from->mark);
  if (filled + (size_t)length + from->held + 1 > OUT) flush();
  memcpy(out + filled, head, (size_t)length);
  memcpy(out + filled + length, from->line, from->held);
  filled += (size_t)length + from->held;
  out[filled++] = '\n';
  from->held = 0;
}

static void take(struct stream *from, const char *data, size_t count) {
  while (count > 0) {
    const char *newline = memchr(data, '\n', count);
    size_t part = newline ? (size_t)(newline - data) : count;
    size_t room = LINE - from->held;
    if (part > room) part = room, newline = NULL; /* a longer line is kept in pieces */
    memcpy(from->line + from->held, data, part);
    from->held += part;
    data += part;
    count -= part;
    if (newline) data++, count--;
    if (newline || from->held == LINE) emit(from);
  }
}

int main(int argc, char **argv) {
  if (argc != 3 || strcmp(argv[1], "--folder") != 0 || chdir(argv[2]) != 0) {
    fprintf(stderr, "use: skerry-log --folder DIR, with pipes on 3, 4 and 5\n");
    return 2;
  }
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  open_log();
  close(5);
  while (streams[0].fd >= 0 || streams[1].fd >= 0) {
    struct pollfd waits[2] = {{streams[0].fd, POLLIN, 0}, {streams[1].fd, POLLIN, 0}};
    struct timespec now;
    if (poll(waits, 2, -1) < 0) continue;
    clock_gettime(CLOCK_REALTIME, &now);
    now_ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
    for (int i = 0; i < 2; i++) {
      ssize_t got;
      if (waits[i].revents == 0) continue;
      got = read(streams[i].fd, in, IN);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got > 0) {
        take(&streams[i], in, (size_t)got);
        continue;
      }
      if (streams[i].held > 0) emit(&streams[i]);
      close(streams[i].fd);
      streams[i].fd = -1;
    }
    flush();
  }
  return 0;
}
