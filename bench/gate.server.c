/*
 * A Modbus/TCP device that answers every request for 10 holding registers, for benchmarks only. One
 * epoll loop. It checks nothing but the length: what is measured is what stands before it.
 *   gate.server HOST PORT
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADU 12
#define RESPONSE 29
#define FILES 20000

static unsigned char part[FILES][ADU];
static int have[FILES];

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  int s = socket(AF_INET, SOCK_STREAM, 0), one = 1, ep = epoll_create1(0);
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
  inet_pton(AF_INET, argv[1], &a.sin_addr);
  if (bind(s, (struct sockaddr *)&a, sizeof a) != 0 || listen(s, 1024) != 0) return 1;
  struct epoll_event e = {.events = EPOLLIN, .data.fd = s}, ev[512];
  epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
  puts("ready");
  fflush(stdout);
  for (;;) {
    int k = epoll_wait(ep, ev, 512, -1);
    for (int j = 0; j < k; j++) {
      int fd = ev[j].data.fd;
      if (fd == s) {
        fd = accept(s, NULL, NULL);
        if (fd < 0) continue;
        if (fd >= FILES) {
          close(fd);
          continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        have[fd] = 0;
        e.events = EPOLLIN;
        e.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        continue;
      }
      ssize_t r = read(fd, part[fd] + have[fd], (size_t)(ADU - have[fd]));
      if (r <= 0) {
        close(fd);
        continue;
      }
      have[fd] += (int)r;
      if (have[fd] < ADU) continue;
      have[fd] = 0;
      unsigned char o[RESPONSE] = {part[fd][0], part[fd][1], 0, 0, 0, RESPONSE - 6, part[fd][6], 3, 20};
      for (int i = 0; i < 10; i++) o[10 + 2 * i] = (unsigned char)i;
      if (write(fd, o, RESPONSE) != RESPONSE) close(fd);
    }
  }
}
