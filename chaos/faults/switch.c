/* A switch in user space: `switch CONTROL SEED NODES`. It makes the TAP devices `hub0` and `node1`…, says "ready" and then
 * carries frames between them. What passes between two nodes is late, lost or repeated as the numbers in the shared file
 * CONTROL say; what the seed decides is the same in every run. Frames that overtake each other stay so: that is reordering. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PORTS = 16, FRAME = 2048, WAITING = 8192 };

struct told {
    volatile int64_t delay_us, jitter_us, lost_permille, repeated_permille;
    volatile int64_t delayed, lost, repeated; /* counted here */
};

struct frame {
    uint64_t due;
    int to, length;
    unsigned char bytes[FRAME];
};

static struct frame *waiting[WAITING]; /* a heap by due time */
static int waits;
static uint64_t chance;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static uint64_t below(uint64_t bound) {
    chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
    return bound ? chance % bound : 0;
}

static void swap(int a, int b) {
    struct frame *f = waiting[a];
    waiting[a] = waiting[b], waiting[b] = f;
}

static void later(uint64_t due, int to, const unsigned char *bytes, int length) {
    if (waits == WAITING) return; /* a full queue drops, as a router's does */
    struct frame *f = malloc(sizeof *f);
    if (!f) return;
    f->due = due, f->to = to, f->length = length;
    memcpy(f->bytes, bytes, length);
    int at = waits++;
    waiting[at] = f;
    for (; at && waiting[(at - 1) / 2]->due > waiting[at]->due; at = (at - 1) / 2) swap(at, (at - 1) / 2);
}

static struct frame *earliest(void) {
    struct frame *f = waiting[0];
    waiting[0] = waiting[--waits];
    for (int at = 0, child; (child = 2 * at + 1) < waits; at = child) {
        if (child + 1 < waits && waiting[child + 1]->due < waiting[child]->due) child++;
        if (waiting[at]->due <= waiting[child]->due) break;
        swap(at, child);
    }
    return f;
}

static int tap(const char *name) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
        perror(name);
        exit(1);
    }
    return fd;
}

int main(int count, char **said) {
    if (count != 4) return 2;
    int control = open(said[1], O_RDWR | O_CLOEXEC);
    struct told *told = mmap(0, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED, control, 0);
    if (told == MAP_FAILED) return 1;
    chance = strtoull(said[2], 0, 10) | 1;
    int ports = atoi(said[3]) + 1;
    if (ports > PORTS) return 2;
    struct pollfd fds[PORTS];
    unsigned char known[PORTS][6] = {{0}};
    for (int port = 0; port < ports; port++) {
        char name[16];
        snprintf(name, sizeof name, port ? "node%d" : "hub0", port);
        fds[port] = (struct pollfd){.fd = tap(name), .events = POLLIN};
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        uint64_t at = now();
        while (waits && waiting[0]->due <= at) {
            struct frame *f = earliest();
            if (write(fds[f->to].fd, f->bytes, f->length) < 0 && errno != EAGAIN && errno != EIO) perror("write");
            free(f);
        }
        uint64_t sleep = waits ? waiting[0]->due - at : 100000;
        struct timespec limit = {sleep / 1000000, sleep % 1000000 * 1000};
        if (ppoll(fds, ports, &limit, 0) <= 0) continue;
        for (int from = 0; from < ports; from++) {
            unsigned char bytes[FRAME];
            int length;
            if (!(fds[from].revents & POLLIN)) continue;
            while ((length = read(fds[from].fd, bytes, sizeof bytes)) >= 14) {
                memcpy(known[from], bytes + 6, 6);
                for (int to = 0; to < ports; to++) {
                    if (to == from || (!(bytes[0] & 1) && memcmp(known[to], bytes, 6))) continue;
                    if (!from || !to || (bytes[0] & 1)) {
                        later(0, to, bytes, length);
                        continue;
                    }
                    int times = 1;
                    if ((int64_t)below(1000) < told->lost_permille) times = 0, told->lost++;
                    else if ((int64_t)below(1000) < told->repeated_permille) times = 2, told->repeated++;
                    while (times--) {
                        uint64_t by = told->delay_us + below(told->jitter_us);
                        if (by) told->delayed++;
                        later(now() + by, to, bytes, length);
                    }
                }
            }
        }
    }
}
