/*
 * The root file system of one system container, made in a mount namespace of the caller's own (mount_namespaces(7)):
 * overlay over a shared image, owners moved for a user namespace (mount_setattr(2)), volumes inside. What it can not do it
 * says on stderr and ends.
 */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LAYERS = 4, VOLUMES = 32, IDS = 65536, PATH_ROOM = 4096 };

struct volume {
  const char *from, *at;
  int read_only;
};

struct root {
  const char *image, *upper, *disk, *layers[LAYERS];
  struct volume volumes[VOLUMES];
  int layer_count, volume_count, read_only;
  long first_id; /* 0: no user namespace */
};

static void die(const char *what) {
  fprintf(stderr, "skerry-system: %s: %s\n", what, strerror(errno));
  exit(70);
}

static void make_folder(const char *path, mode_t mode) {
  if (mkdir(path, mode) < 0 && errno != EEXIST) die(path);
}

/* A user namespace with the guest's ids, for the kernel to take the map from; its process ends at once. */
static int ids_namespace(long first) {
  char path[64], map[64];
  int line[2], fd, status;
  char byte = 0;
  if (pipe2(line, O_CLOEXEC) < 0) die("pipe");
  pid_t child = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (child < 0) die("a user namespace can not be made");
  if (child == 0) {
    close(line[1]);
    while (read(line[0], &byte, 1) > 0) continue;
    _exit(0);
  }
  close(line[0]);
  int length = snprintf(map, sizeof map, "0 %ld %d", first, IDS);
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "/proc/%d/%s", (int)child, i ? "gid_map" : "uid_map");
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, map, (size_t)length) != length) die(path);
    close(fd);
  }
  snprintf(path, sizeof path, "/proc/%d/ns/user", (int)child);
  fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) die(path);
  close(line[1]);
  waitpid(child, &status, 0);
  return fd;
}

/* A mount of a folder that is nowhere yet; its owners moved where there are ids. */
static int clone_folder(const char *from, int ids, int read_only) {
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0)};
  if (ids >= 0) {
    attributes.attr_set |= MOUNT_ATTR_IDMAP;
    attributes.userns_fd = (unsigned long long)ids;
  }
  int tree = open_tree(AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0) die(from);
  return tree;
}

/* The place of a volume below `root`, made where it is missing; links lead within the root. */
static int place_in(int root, const char *path, uid_t owner) {
  struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  char part[PATH_ROOM];
  snprintf(part, sizeof part, "%s", path);
  int above = fcntl(root, F_DUPFD_CLOEXEC, 3);
  for (char *at = part; *at;) {
    while (*at == '/') at++;
    char *end = at + strcspn(at, "/"), kept = *end;
    if (end == at) break;
    *end = 0;
    int next = (int)syscall(SYS_openat2, root, part, &how, sizeof how);
    if (next < 0 && errno == ENOENT && strcmp(at, "..") != 0) {
      if (mkdirat(above, at, 0755) == 0 && fchownat(above, at, owner, owner, AT_SYMLINK_NOFOLLOW) < 0) die(path);
      next = (int)syscall(SYS_openat2, root, part, &how, sizeof how);
    }
    if (next < 0) die(path);
    close(above);
    above = next;
    *end = kept;
    at = end;
  }
  return above;
}

/* The ext4 of a file at `point`; the loop device goes with the mount (loop(4), LO_FLAGS_AUTOCLEAR). */
static void mount_disk(const char *file, const char *point) {
  struct loop_config config = {.info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
  char device[64];
  int backing = open(file, O_RDWR | O_CLOEXEC), control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), loop = -1;
  if (backing < 0) die(file);
  if (control < 0) die("/dev/loop-control");
  config.fd = (unsigned int)backing;
  for (int tries = 0; loop < 0 && tries < 64; tries++) { /* others take free ones as well */
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) die("/dev/loop-control");
    snprintf(device, sizeof device, "/dev/loop%d", number);
    loop = open(device, O_RDWR | O_CLOEXEC);
    if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) < 0) {
      if (errno != EBUSY) die(device);
      close(loop);
      loop = -1;
    }
  }
  if (loop < 0) die("no free loop device");
  if (mount(device, point, "ext4", MS_NODEV | MS_NOATIME, "") < 0) die(file);
  close(loop);
  close(control);
  close(backing);
}

static void make_root(const struct root *root) {
  char options[8 * PATH_ROOM], upper[PATH_ROOM];
  uid_t owner = (uid_t)root->first_id;
  size_t length = 0;
  int ids = root->first_id > 0 ? ids_namespace(root->first_id) : -1;
  if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) die("mount namespace");
  make_folder("rootfs", 0755);
  const char *image = root->image;
  if (ids >= 0) {
    make_folder("image", 0755);
    int tree = clone_folder(root->image, ids, 1);
    if (move_mount(tree, "", AT_FDCWD, "image", MOVE_MOUNT_F_EMPTY_PATH) < 0) die("image");
    close(tree);
    image = "image";
  }
  const char *base = root->upper;
  if (root->disk) {
    make_folder("layer", 0755);
    mount_disk(root->disk, "layer");
    base = "layer";
  }
  for (int i = 0; i < 2; i++) {
    snprintf(upper, sizeof upper, "%s/%s", base, i ? "work" : "upper");
    make_folder(upper, 0755);
  }
  snprintf(upper, sizeof upper, "%s/upper", base);
  if (chown(upper, owner, owner) < 0) die(upper);
  length += (size_t)snprintf(options, sizeof options, "upperdir=%s/upper,workdir=%s/work,lowerdir=", base, base);
  for (int i = 0; i < root->layer_count; i++)
    length += (size_t)snprintf(options + length, sizeof options - length, "%s:", root->layers[i]);
  snprintf(options + length, sizeof options - length, "%s", image);
  if (mount("overlay", "rootfs", "overlay", MS_NODEV, options) < 0) die("the root file system could not be laid over the image");
  int top = open("rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < root->volume_count; i++) {
    const struct volume *one = &root->volumes[i];
    int tree = clone_folder(one->from, ids, one->read_only), place = place_in(top, one->at, owner);
    if (move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) die(one->at);
    close(tree);
    close(place);
  }
  close(top);
  struct mount_attr sealed = {.attr_set = MOUNT_ATTR_RDONLY}; /* itself, not the volumes in it */
  if (root->read_only && mount_setattr(AT_FDCWD, "rootfs", 0, &sealed, sizeof sealed) < 0) die("rootfs");
  if (ids >= 0) close(ids);
}
