/*
 * Bench only: tells the kernel to send what `engine.packets.bpf.c` holds, and what it took per packet.
 *
 *   engine.packets SOURCE FRAMES CURSOR CPU     (paths of the pinned program and maps; in the room's netns)
 *
 * On standard input, one command a line:
 *   frames FILE                          64 bytes each, into the map
 *   send IFINDEX FIRST END PACKETS       answers `<nanoseconds>` for all of them
 *
 * The kernel's own clock is read around the packets, and stops while another task has the CPU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAP_BYTES (65536 * 64)
#define FRAME_BYTES 60
/* As a driver's poll hands over packets to the stack. */
#define BATCH 64

static long bpf(int command, union bpf_attr *attributes) {
  return syscall(__NR_bpf, command, attributes, sizeof(*attributes));
}

static void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static int pinned(const char *path) {
  union bpf_attr attributes = {.pathname = (unsigned long)path};
  int fd = bpf(BPF_OBJ_GET, &attributes);
  if (fd < 0) die(path);
  return fd;
}

static void load(const char *file, char *map) {
  int fd = open(file, O_RDONLY);
  ssize_t got = 0, size = 0;
  if (fd < 0) die(file);
  while (size < MAP_BYTES && (got = read(fd, map + size, MAP_BYTES - size)) > 0) size += got;
  if (got < 0) die(file);
  close(fd);
}

static unsigned long transmit(int source, int cursor, unsigned ifindex, unsigned first, unsigned end,
                              unsigned packets) {
  unsigned zero = 0, place[3] = {first, first, end};
  unsigned char data[FRAME_BYTES] = {0};
  struct xdp_md context = {.data_end = FRAME_BYTES, .ingress_ifindex = ifindex};
  union bpf_attr write = {
      .map_fd = cursor, .key = (unsigned long)&zero, .value = (unsigned long)place};
  union bpf_attr test = {0};
  if (bpf(BPF_MAP_UPDATE_ELEM, &write)) die("cursor");
  test.test.prog_fd = source;
  test.test.data_in = (unsigned long)data;
  test.test.data_size_in = sizeof(data);
  test.test.ctx_in = (unsigned long)&context;
  test.test.ctx_size_in = sizeof(context);
  test.test.repeat = packets;
  test.test.batch_size = BATCH;
  test.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  if (bpf(BPF_PROG_TEST_RUN, &test)) die("send");
  return (unsigned long)test.test.duration * packets;
}

int main(int count, char **arguments) {
  char line[512], file[400];
  unsigned ifindex, first, end, packets;
  cpu_set_t cpus;
  if (count != 5) return 64;
  int source = pinned(arguments[1]), frames = pinned(arguments[2]), cursor = pinned(arguments[3]);
  CPU_ZERO(&cpus);
  CPU_SET(atoi(arguments[4]), &cpus);
  if (sched_setaffinity(0, sizeof(cpus), &cpus)) die("affinity");
  char *map = mmap(0, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, frames, 0);
  if (map == MAP_FAILED) die("mmap");
  while (fgets(line, sizeof(line), stdin)) {
    if (sscanf(line, "frames %399s", file) == 1) {
      load(file, map);
      puts("ok");
    } else if (sscanf(line, "send %u %u %u %u", &ifindex, &first, &end, &packets) == 4) {
      printf("%lu\n", transmit(source, cursor, ifindex, first, end, packets));
    } else {
      return 64;
    }
    fflush(stdout);
  }
  return 0;
}
