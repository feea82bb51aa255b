/*
 * skerry-echo: asks addresses for an echo (ICMP, RFC 792; ICMPv6, RFC 4443) and tells how long the answer took, by the clock of
 * the kernel, so that a busy caller does not spoil the figure.
 *
 * Input, a line for each question:  ID ADDRESS      ID: a decimal number below 2^32, told back
 * Output, a line for each answer:   ID MICROSECONDS, or ID - when none came within a second, or it could not be asked
 *
 * It sends when it is told, and never else. Once its sockets are open it has no rights left. It ends with its input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_NS 1000000000LL
#define NOBODY 65534
#define SLOTS 65536 /* sequence numbers */

struct question {
  unsigned long id;
  long long sent_ns; /* 0: nobody waits */
  unsigned char address[16];
};
static struct question asked[SLOTS];
static unsigned short oldest, next;
static unsigned short ident;

static long long now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void tell(struct question *one, long long ns) {
  if (ns < 0) printf("%lu -\n", one->id);
  else printf("%lu %lld\n", one->id, ns / 1000);
  one->sent_ns = 0;
}

static unsigned short checksum(const void *data, size_t length) {
  const unsigned short *words = data;
  unsigned long sum = 0;
  for (; length > 1; length -= 2) sum += *words++;
  sum = (sum >> 16) + (sum & 0xffff);
  return ~(sum + (sum >> 16));
}

static void ask(int fd4, int fd6, unsigned long id, const char *text) {
  struct question *one = &asked[next];
  if (one->sent_ns) tell(one, -1); /* all numbers are in use: the oldest has had its time */
  memset(one, 0, sizeof *one);
  one->id = id;
  struct sockaddr_in to4 = {.sin_family = AF_INET};
  struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};
  ssize_t sent = -1;
  one->sent_ns = now_ns();
  if (inet_pton(AF_INET, text, &to4.sin_addr) == 1) {
    struct icmphdr echo = {.type = ICMP_ECHO};
    echo.un.echo.id = ident;
    echo.un.echo.sequence = next;
    echo.checksum = checksum(&echo, sizeof echo);
    memcpy(one->address, &to4.sin_addr, 4);
    sent = sendto(fd4, &echo, sizeof echo, MSG_DONTWAIT, (struct sockaddr *)&to4, sizeof to4);
  } else if (inet_pton(AF_INET6, text, &to6.sin6_addr) == 1) {
    struct icmp6hdr echo = {.icmp6_type = ICMPV6_ECHO_REQUEST}; /* the kernel does the checksum */
    echo.icmp6_dataun.u_echo.identifier = ident;
    echo.icmp6_dataun.u_echo.sequence = next;
    memcpy(one->address, &to6.sin6_addr, 16);
    sent = sendto(fd6, &echo, sizeof echo, MSG_DONTWAIT, (struct sockaddr *)&to6, sizeof to6);
  }
  if (sent < 0) tell(one, -1);
  next++;
}

static long long stamp_of(struct msghdr *message) {
  for (struct cmsghdr *one = CMSG_FIRSTHDR(message); one; one = CMSG_NXTHDR(message, one)) {
    if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_TIMESTAMPNS) continue;
    struct timespec at;
    memcpy(&at, CMSG_DATA(one), sizeof at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
  }
  return now_ns();
}

static void hear(int fd, int family) {
  unsigned char packet[2048], control[256];
  struct sockaddr_storage from = {0};
  for (;;) {
    struct iovec vector = {packet, sizeof packet};
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &vector, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
    if (got < 0) return;
    unsigned short id, sequence;
    const void *address;
    size_t bytes;
    if (family == AF_INET) {
      size_t header = got > 0 ? (packet[0] & 15) * 4 : 0;
      struct icmphdr echo;
      if (header < 20 || got < (ssize_t)(header + sizeof echo)) continue;
      memcpy(&echo, packet + header, sizeof echo);
      if (echo.type != ICMP_ECHOREPLY) continue;
      id = echo.un.echo.id, sequence = echo.un.echo.sequence;
      address = &((struct sockaddr_in *)&from)->sin_addr, bytes = 4;
    } else {
      struct icmp6hdr echo;
      if (got < (ssize_t)sizeof echo) continue;
      memcpy(&echo, packet, sizeof echo);
      if (echo.icmp6_type != ICMPV6_ECHO_REPLY) continue;
      id = echo.icmp6_dataun.u_echo.identifier, sequence = echo.icmp6_dataun.u_echo.sequence;
      address = &((struct sockaddr_in6 *)&from)->sin6_addr, bytes = 16;
    }
    struct question *one = &asked[sequence];
    if (id != ident || !one->sent_ns || memcmp(one->address, address, bytes)) continue;
    long long took = stamp_of(&message) - one->sent_ns;
    /* below zero, or longer than anybody waits: the clock was set meanwhile */
    tell(one, took >= 0 && took <= LIMIT_NS ? took : -1);
  }
}

/* Gives up those that nobody answered; returns for how long poll may wait, in milliseconds. */
static int expire(void) {
  long long now = now_ns();
  for (; oldest != next; oldest++) {
    struct question *one = &asked[oldest];
    if (!one->sent_ns) continue;
    long long age = now - one->sent_ns;
    if (age >= 0 && age < LIMIT_NS) return (LIMIT_NS - age) / 1000000 + 1;
    tell(one, -1);
  }
  return -1;
}

int main(void) {
  int on = 1;
  int fd4 = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
  int fd6 = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
  if (fd4 < 0 && fd6 < 0) {
    fprintf(stderr, "skerry-echo: no socket for ICMP: %s\n", strerror(errno));
    return 1;
  }
  if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY) ||
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
    fprintf(stderr, "skerry-echo: can not give up its rights: %s\n", strerror(errno));
    return 1;
  }
  ident = (unsigned short)(getpid() ^ now_ns());
  struct icmp_filter only = {.data = ~(1u << ICMP_ECHOREPLY)};
  setsockopt(fd4, SOL_RAW, ICMP_FILTER, &only, sizeof only);
  for (int i = 0; i < 2; i++) setsockopt(i ? fd6 : fd4, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  static char line[4096];
  size_t held = 0;
  struct pollfd ears[3] = {{0, POLLIN, 0}, {fd4, POLLIN, 0}, {fd6, POLLIN, 0}};
  for (;;) {
    int wait = expire();
    fflush(stdout);
    if (poll(ears, 3, wait) < 0 && errno != EINTR) return 1;
    if (ears[1].revents) hear(fd4, AF_INET);
    if (ears[2].revents) hear(fd6, AF_INET6);
    if (!ears[0].revents) continue;
    ssize_t got = read(0, line + held, sizeof line - held - 1);
    if (got <= 0) return 0;
    held += got;
    line[held] = 0;
    char *begin = line, *end;
    while ((end = strchr(begin, '\n'))) {
      *end = 0;
      char *address;
      unsigned long id = strtoul(begin, &address, 10);
      if (address != begin && *address == ' ') ask(fd4, fd6, id, address + 1);
      begin = end + 1;
    }
    held -= begin - line;
    memmove(line, begin, held);
    if (held == sizeof line - 1) held = 0; /* no question is as long as this */
  }
}
