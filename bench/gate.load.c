/*
 * Closed-loop Modbus/TCP load, for benchmarks only: one epoll loop, C connections, one request in
 * flight on each. Prints one line: transactions, seconds, p50 and p99 in microseconds, errors.
 *   gate.load HOST PORT CONNECTIONS MILLISECONDS        closed loop
 *   gate.load HOST PORT CONNECTIONS MILLISECONDS idle   one transaction each, then they only stay open
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 8192
#define ADU 12
#define RESPONSE 29
/* Latency in steps of 1 us up to 200 ms. */
#define BUCKETS 200000

static struct { int fd; uint16_t id; int got; uint64_t sent; unsigned char b[64]; int done; } c[MAX_CONNECTIONS];
static uint32_t histogram[BUCKETS];

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int ask(int i) {
  unsigned char r[ADU] = {0, 0, 0, 0, 0, 6, 1, 3, 0, 0, 0, 10};
  c[i].id++;
  r[0] = (unsigned char)(c[i].id >> 8);
  r[1] = (unsigned char)c[i].id;
  c[i].got = 0;
  c[i].sent = now();
  return write(c[i].fd, r, ADU) == ADU ? 0 : -1;
}

static double quantile(uint64_t total, double q) {
  uint64_t want = (uint64_t)((double)total * q), seen = 0;
  for (int i = 0; i < BUCKETS; i++) {
    seen += histogram[i];
    if (seen > want) return i;
  }
  return BUCKETS;
}

int main(int argc, char **argv) {
  if (argc < 5) return 64;
  int n = atoi(argv[3]), idle = argc > 5;
  uint64_t run = (uint64_t)atoi(argv[4]) * 1000000u, total = 0, errors = 0;
  if (n < 1 || n > MAX_CONNECTIONS) return 64;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
  inet_pton(AF_INET, argv[1], &a.sin_addr);
  int ep = epoll_create1(0);
  for (int i = 0; i < n; i++) {
    c[i].fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    setsockopt(c[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c[i].fd, (struct sockaddr *)&a, sizeof a) != 0) {
      fprintf(stderr, "connect %d: %s\n", i, strerror(errno));
      return 1;
    }
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
    epoll_ctl(ep, EPOLL_CTL_ADD, c[i].fd, &e);
  }
  uint64_t start = now(), end = start + run;
  for (int i = 0; i < n; i++) errors += ask(i) != 0;
  struct epoll_event ev[512];
  int answered = 0;
  for (;;) {
    uint64_t t = now();
    if (t >= end && !(idle && answered < n && t < end + 20000000000u)) break;
    int k = epoll_wait(ep, ev, 512, 100);
    for (int j = 0; j < k; j++) {
      int i = (int)ev[j].data.u32;
      ssize_t r = read(c[i].fd, c[i].b + c[i].got, sizeof c[i].b - (size_t)c[i].got);
      if (r <= 0) {
        errors++;
        epoll_ctl(ep, EPOLL_CTL_DEL, c[i].fd, NULL);
        continue;
      }
      c[i].got += (int)r;
      if (c[i].got < RESPONSE) continue;
      if (c[i].b[7] != 3 || c[i].b[0] != (c[i].id >> 8) || c[i].b[1] != (c[i].id & 255)) errors++;
      uint64_t us = (now() - c[i].sent) / 1000;
      histogram[us < BUCKETS ? us : BUCKETS - 1]++;
      total++;
      if (idle) {
        if (++answered == n) {
          printf("idle %d\n", n);
          fflush(stdout);
        }
      } else if (ask(i) != 0) {
        errors++;
      }
    }
  }
  printf("{\"transactions\":%llu,\"seconds\":%.6f,\"p50\":%.1f,\"p99\":%.1f,\"errors\":%llu}\n",
         (unsigned long long)total, (double)(now() - start) / 1e9, quantile(total, 0.5),
         quantile(total, 0.99), (unsigned long long)errors);
  return 0;
}
