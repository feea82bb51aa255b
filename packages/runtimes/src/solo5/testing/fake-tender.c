/* Stands for Solo5's spt in tests: tells what it was given, tries each device, then does what its last word says. */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv) {
  const char *words = "", *image = NULL;
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 1; i < argc; i++) {
    printf("given: %s\n", argv[i]);
    if (!strncmp(argv[i], "--net:", 6)) {
      struct ifreq about = {0};
      int fd = atoi(strchr(argv[i], '@') + 1);
      if (ioctl(fd, TUNGETIFF, &about) < 0) perror("tap");
      else printf("net: %s frames\n", about.ifr_flags & IFF_VNET_HDR ? "virtio" : "plain");
    }
    if (!strncmp(argv[i], "--block:", 8)) {
      int fd = open(strchr(argv[i], '=') + 1, O_RDWR);
      unsigned char starts = 0; /* counted on the device itself */
      printf("block: %lld bytes, ", (long long)lseek(fd, 0, SEEK_END));
      printf("start %d, ", pread(fd, &starts, 1, 0) == 1 ? ++starts : -1);
      printf("%s\n", pwrite(fd, &starts, 1, 0) == 1 ? "written" : "not written");
    }
    if (!strcmp(argv[i], "--") && i + 1 < argc) image = argv[i + 1], words = i + 2 < argc ? argv[i + 2] : "";
  }
  char magic[4] = "";
  int fd = image ? open(image, O_RDONLY) : -1;
  printf("image: %s\n", read(fd, magic, 4) == 4 && !memcmp(magic, "\x7f" "ELF", 4) ? "ELF" : "none");
  printf("user: %d\n", (int)getuid());
  const char *end = strstr(words, "exit=");
  if (end) return atoi(end + 5);
  if (strstr(words, "abort")) abort();
  for (int byte; (byte = getchar()) != EOF;) putchar(byte); /* repeats what is typed */
  for (;;) pause();
}
