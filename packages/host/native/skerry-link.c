/* A wire between two network namespaces that takes its time: delay, bandwidth and loss in each direction.
 *
 *   skerry-link NETNS-A INTERFACE-A NETNS-B INTERFACE-B PARAMETERS
 *
 * Makes a point-to-point interface (tun) in each namespace and carries packets between them; goes into the background once both
 * are there, having printed its process id. PARAMETERS is a file with a line for each direction, A to B first:
 *
 *   DELAY-US RATE-BIT/S LOSS-PPM     a rate of 0 is unlimited
 *
 * It is read again upon SIGHUP. The interfaces go with the process. One process for a wire, so that one wire's traffic does not
 * wait for another's. It knows nothing of addresses; packets keep their order, as on a wire. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define LONGEST 65536            /* of a packet, tun(4) */
#define BATCH 64                 /* packets from one side before the other has its turn */
#define QUEUE_BYTES (8u << 20)   /* on the wire and waiting for it, in each direction; more is lost, as in a full buffer */
#define WAIT_NS 100000000ull     /* what a packet waits for its turn at most: a deeper buffer only adds delay (bufferbloat) */
#define CATCH_UP_NS 2000000ull   /* what this process was late, a wire does not lose: it was sending meanwhile */

struct packet {
	struct packet *next;
	uint64_t due;
	unsigned length;
	unsigned char bytes[];
};

struct direction {
	int from, to;
	uint64_t delay_ns, rate, loss_ppm;
	uint64_t busy_until, last_due;
	size_t held;
	struct packet *first, **end;
};

static struct direction ways[2];
static const char *parameters;
static uint64_t random_state;

static void fail(const char *what)
{
	fprintf(stderr, "skerry-link: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* xorshift64*: G. Marsaglia, Xorshift RNGs, 2003 */
static uint64_t draw(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 2685821657736338717ull;
}

static int read_parameters(void)
{
	unsigned long long v[6];
	FILE *file = fopen(parameters, "re");
	if (!file) return -1;
	int read = fscanf(file, "%llu %llu %llu %llu %llu %llu", v, v + 1, v + 2, v + 3, v + 4, v + 5);
	fclose(file);
	if (read != 6) {
		errno = EINVAL;
		return -1;
	}
	for (int i = 0; i < 2; i++) {
		ways[i].delay_ns = v[3 * i] * 1000;
		ways[i].rate = v[3 * i + 1];
		ways[i].loss_ppm = v[3 * i + 2];
	}
	return 0;
}

static int open_interface(const char *netns, const char *name)
{
	int ns = open(netns, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0) fail(netns);
	close(ns);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) fail("/dev/net/tun");
	struct ifreq request;
	memset(&request, 0, sizeof request);
	request.ifr_flags = IFF_TUN | IFF_NO_PI;
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(fd, TUNSETIFF, &request) < 0) fail(name);
	return fd;
}

static void accept_packet(struct direction *way, const unsigned char *bytes, unsigned length, uint64_t now)
{
	if (way->loss_ppm && draw() % 1000000 < way->loss_ppm) return;
	if (way->held + length > QUEUE_BYTES) return;
	uint64_t sent = now;
	if (way->rate) {
		uint64_t begin = way->busy_until;
		if (begin + CATCH_UP_NS < now) begin = now - CATCH_UP_NS;
		if (begin > now + WAIT_NS) return;
		way->busy_until = begin + (uint64_t)length * 8000000000ull / way->rate;
		if (way->busy_until > now) sent = way->busy_until;
	}
	uint64_t due = sent + way->delay_ns;
	if (due < way->last_due) due = way->last_due;
	struct packet *p = malloc(sizeof *p + length);
	if (!p) return;
	p->next = NULL;
	p->due = way->last_due = due;
	p->length = length;
	memcpy(p->bytes, bytes, length);
	*way->end = p;
	way->end = &p->next;
	way->held += length;
}

static void deliver(struct direction *way, uint64_t now)
{
	while (way->first && way->first->due <= now) {
		struct packet *p = way->first;
		way->first = p->next;
		if (!way->first) way->end = &way->first;
		way->held -= p->length;
		if (write(way->to, p->bytes, p->length) < 0) { /* the interface is down: what arrives there is lost */ }
		free(p);
	}
}

static void carry(int signals)
{
	static unsigned char buffer[LONGEST];
	for (;;) {
		struct pollfd polls[3] = {
			{ ways[0].from, POLLIN, 0 }, { ways[1].from, POLLIN, 0 }, { signals, POLLIN, 0 },
		};
		uint64_t now = now_ns(), next = UINT64_MAX;
		for (int i = 0; i < 2; i++)
			if (ways[i].first && ways[i].first->due < next) next = ways[i].first->due;
		uint64_t wait = next > now ? next - now : 0;
		struct timespec limit = { wait / 1000000000ull, wait % 1000000000ull };
		if (ppoll(polls, 3, next == UINT64_MAX ? NULL : &limit, NULL) < 0 && errno != EINTR) exit(1);
		if (polls[2].revents & POLLIN) {
			struct signalfd_siginfo info;
			if (read(signals, &info, sizeof info) == sizeof info) read_parameters();
		}
		for (int i = 0; i < 2; i++) {
			now = now_ns();
			for (int n = 0; n < BATCH && (polls[i].revents & (POLLIN | POLLERR)); n++) {
				ssize_t length = read(ways[i].from, buffer, sizeof buffer);
				if (length < 0 && errno == EBADFD) exit(0); /* its namespace is gone */
				if (length <= 0) break;
				accept_packet(&ways[i], buffer, length, now);
			}
		}
		now = now_ns();
		deliver(&ways[0], now);
		deliver(&ways[1], now);
	}
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "usage: skerry-link NETNS-A INTERFACE-A NETNS-B INTERFACE-B PARAMETERS\n");
		return 2;
	}
	parameters = argv[5];
	random_state = now_ns() ^ ((uint64_t)getpid() << 32) ^ 0x9e3779b97f4a7c15ull;
	if (read_parameters() < 0) fail(parameters);
	int a = open_interface(argv[1], argv[2]);
	int b = open_interface(argv[3], argv[4]);
	ways[0].from = ways[1].to = a;
	ways[0].to = ways[1].from = b;
	for (int i = 0; i < 2; i++) ways[i].end = &ways[i].first;

	sigset_t hangup;
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	sigprocmask(SIG_BLOCK, &hangup, NULL);
	int signals = signalfd(-1, &hangup, SFD_CLOEXEC);
	if (signals < 0) fail("signalfd");

	pid_t child = fork();
	if (child < 0) fail("fork");
	if (child > 0) {
		printf("%d\n", child);
		return 0;
	}
	setsid();
	if (chdir("/") < 0) return 1;
	int null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++) dup2(null, fd);
	if (null > 2) close(null);
	/* A delay is only as true as the moment at which this process runs; and the kernel rounds waits up by 50 us unless asked. */
	struct sched_param high = { .sched_priority = 1 };
	sched_setscheduler(0, SCHED_RR, &high);
	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
	carry(signals);
}
