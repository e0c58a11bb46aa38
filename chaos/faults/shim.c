/* Preloaded into a node: what its libc says of the wall clock and of syncs, as four numbers in a shared file tell it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"

struct told {
    volatile int64_t wall_ms;     /* added to the wall clock */
    volatile int64_t sync_us;     /* each sync takes so much longer */
    volatile int64_t sync_errno;  /* each sync fails with this; -1: it says it is done and does nothing */
    volatile int64_t syncs;       /* counted here */
};

static struct told nothing;

static struct told *told(void) {
    static struct told *at;
    if (at) return at;
    const char *path = getenv("ASSIZE_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(0, sizeof(struct told), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    return at = map == MAP_FAILED ? &nothing : map;
}

int clock_gettime(clockid_t clock, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, t);
    if (result == 0 && clock == CLOCK_REALTIME) t->tv_sec += told()->wall_ms / 1000;
    return result;
}

static int faulty(int fd, const char *name) {
    struct told *faults = told();
    __atomic_add_fetch(&faults->syncs, 1, __ATOMIC_RELAXED);
    if (faults->sync_us > 0) usleep(faults->sync_us);
    if (faults->sync_errno == -1) return 0;
    if (faults->sync_errno > 0) {
        errno = faults->sync_errno;
        return -1;
    }
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    struct sync_begun begun;
    sync_begins(fd, &begun);
    int result = real(fd);
    if (result == 0) sync_succeeded(fd, &begun);
    return result;
}

int fdatasync(int fd) { return faulty(fd, "fdatasync"); }
int fsync(int fd) { return faulty(fd, "fsync"); }
