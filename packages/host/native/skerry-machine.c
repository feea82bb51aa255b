/* A machine of a lab: namespaces of its own for processes, mounts, host name, messages, and a network namespace that is there.
 *
 *   skerry-machine NETNS HOSTNAME FOLDER
 *
 * Goes into the background and prints the id of its first process, which does nothing but wait for children that nobody else
 * waits for. Whoever enters (nsenter --target ID --all) finds a /run of its own, empty as after a boot; /proc and /sys that show
 * this machine's processes and interfaces; the /etc/resolv.conf and /etc/hosts of FOLDER. When the first process is killed, the kernel ends
 * all others at once and drops what they had mounted: a power cut (pid_namespaces(7)). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "skerry-machine: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void mount_or_fail(const char *from, const char *to, const char *type, unsigned long flags, const char *data)
{
	if (mount(from, to, type, flags, data) < 0) fail(to);
}

static void bind_file(const char *folder, const char *name, const char *over)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	if (access(path, F_OK) == 0 && access(over, F_OK) == 0) mount_or_fail(path, over, NULL, MS_BIND, NULL);
}

static void make_mounts(const char *folder)
{
	/* slave: what the host unmounts must not be kept busy by us; nothing of ours is seen outside */
	mount_or_fail("none", "/", NULL, MS_REC | MS_SLAVE, NULL);
	mount_or_fail("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
	if (mkdir("/run/sys", 0555) < 0) fail("/run/sys");
	mount_or_fail("sysfs", "/run/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	if (access("/sys/fs/cgroup", F_OK) == 0)
		mount_or_fail("/sys/fs/cgroup", "/run/sys/fs/cgroup", NULL, MS_BIND | MS_REC, NULL);
	mount_or_fail("/run/sys", "/sys", NULL, MS_MOVE, NULL);
	if (rmdir("/run/sys") < 0) fail("/run/sys");
	mount_or_fail("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	bind_file(folder, "resolv.conf", "/etc/resolv.conf");
	bind_file(folder, "hosts", "/etc/hosts");
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: skerry-machine NETNS HOSTNAME FOLDER\n");
		return 2;
	}
	int ns = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0) fail(argv[1]);
	close(ns);
	if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC) < 0) fail("unshare");
	if (sethostname(argv[2], strlen(argv[2])) < 0) fail("sethostname");
	int ready[2];
	if (pipe2(ready, O_CLOEXEC) < 0) fail("pipe");
	pid_t child = fork();
	if (child < 0) fail("fork");
	if (child > 0) {
		char byte;
		close(ready[1]);
		if (read(ready[0], &byte, 1) != 1) {
			waitpid(child, NULL, 0);
			return 1; /* it has said why */
		}
		printf("%d\n", child);
		return 0;
	}
	setsid();
	make_mounts(argv[3]);
	if (chdir("/") < 0) fail("/");
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0) fail("/dev/null");
	for (int fd = 0; fd < 3; fd++) dup2(null, fd);
	if (write(ready[1], "", 1) != 1) return 1;
	close(ready[1]);
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		int signal;
		while (waitpid(-1, NULL, WNOHANG) > 0) {}
		sigwait(&all, &signal);
	}
}
