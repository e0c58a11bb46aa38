/* Preloaded into a node with shim.c: a journal of what its data folder would lose if the power went now.
 *
 * A sync that is honest says how long its file was when it began; what grew later is not durable. What is overwritten is
 * kept as it was; names that come, go or change are kept until their folder was synced. Nothing here takes anything
 * away: chaos/src/power.rs does, when the process is dead, by what stands in the journal.
 *
 * ASSIZE_DATA: the folder. ASSIZE_POWER: a folder beside it, with `journal` and `grave`, where removed files stay. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk.h"

/* One entry of the journal; `length` bytes follow. */
struct entry {
    char kind;
    char pad[3];
    uint32_t length;
    uint64_t inode;
    uint64_t at;
    uint64_t since; /* of a sync: where the journal ended when it began */
};

static char data[PATH_MAX], power[PATH_MAX];
static size_t data_length;
static int journal = -1;
static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("ASSIZE_DATA"), *beside = getenv("ASSIZE_POWER");
    if (!folder || !beside) return;
    snprintf(data, sizeof data, "%s/", folder);
    snprintf(power, sizeof power, "%s", beside);
    data_length = strlen(data);
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/journal", power);
    journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(char kind, uint64_t inode, uint64_t at, uint64_t since, const void *bytes, size_t length) {
    struct entry entry = {.kind = kind, .length = length, .inode = inode, .at = at, .since = since};
    struct iovec parts[2] = {{&entry, sizeof entry}, {(void *)bytes, length}};
    int before = errno;
    /* Less than the whole, or nothing, would make every later verdict worthless. */
    if (syscall(SYS_writev, journal, parts, 2) != (long)(sizeof entry + length)) abort();
    errno = before;
}

/* Two paths, each with its end. */
static void note_names(char kind, uint64_t inode, uint64_t grave, const char *one, const char *other) {
    char text[2 * PATH_MAX];
    size_t length = strlen(one) + 1;
    memcpy(text, one, length);
    strcpy(text + length, other);
    note(kind, inode, grave, 0, text, length + strlen(other) + 1);
}

static int inside(const char *path) { return journal >= 0 && path && strncmp(path, data, data_length) == 0; }

/* The path of what is open. */
static ssize_t path_of(int fd, char *room) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, room, PATH_MAX - 1);
    if (length >= 0) room[length] = 0;
    return length;
}

/* As an absolute path, where it lies in a folder that is open. */
static const char *absolute(int dir, const char *path, char *room) {
    if (dir == AT_FDCWD || !path || path[0] == '/') return path;
    char folder[PATH_MAX];
    if (path_of(dir, folder) < 0) return path;
    if (snprintf(room, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX) return path;
    return room;
}

static int is_ours(int fd, struct stat *status) {
    char path[PATH_MAX];
    return journal >= 0 && fstat(fd, status) == 0 && S_ISREG(status->st_mode) && path_of(fd, path) > 0 && inside(path);
}

/* What stands in the file from `at` to `end` is about to change. */
static void keep(int fd, uint64_t inode, uint64_t at, uint64_t end) {
    char link[64], block[1 << 16];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int reader = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    while (reader >= 0 && at < end) {
        size_t want = end - at < sizeof block ? end - at : sizeof block;
        long got = syscall(SYS_pread64, reader, block, want, at);
        if (got <= 0) break;
        note('W', inode, at, 0, block, got);
        at += got;
    }
    if (reader >= 0) syscall(SYS_close, reader);
}

static void about_to_write(int fd, int64_t at, size_t length) {
    struct stat status;
    if (!is_ours(fd, &status)) return;
    if (at < 0) at = fcntl(fd, F_GETFL) & O_APPEND ? status.st_size : lseek(fd, 0, SEEK_CUR);
    uint64_t end = (uint64_t)at + length, size = status.st_size;
    if ((uint64_t)at < size) keep(fd, status.st_ino, at, end < size ? end : size);
}

/* A hard link to what this name is about to lose; 0 if there is none. */
static uint64_t bury(const char *path) {
    struct stat status;
    if (lstat(path, &status) != 0 || !S_ISREG(status.st_mode)) return 0;
    static uint64_t graves;
    char grave[PATH_MAX + 64];
    uint64_t number = ((uint64_t)getpid() << 32) | ++graves;
    snprintf(grave, sizeof grave, "%s/grave/%lu", power, (unsigned long)number);
    return syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, grave, 0) == 0 ? number : 0;
}

static int opened(int dir, const char *given, int flags, mode_t mode) {
    char room[PATH_MAX];
    const char *path = absolute(dir, given, room);
    if (!inside(path)) return syscall(SYS_openat, dir, given, flags, mode);
    struct stat before, after;
    pthread_mutex_lock(&names);
    int there = lstat(path, &before) == 0;
    if (there && S_ISREG(before.st_mode) && flags & O_TRUNC && before.st_size > 0) {
        int reader = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        if (reader >= 0) {
            note('O', before.st_ino, before.st_size, 0, 0, 0);
            keep(reader, before.st_ino, 0, before.st_size);
            syscall(SYS_close, reader);
        }
    }
    int fd = syscall(SYS_openat, dir, given, flags, mode);
    if (fd >= 0 && fstat(fd, &after) == 0 && S_ISREG(after.st_mode)) {
        if (there) note('O', after.st_ino, after.st_size, 0, 0, 0);
        else note_names('C', after.st_ino, 0, path, "");
    }
    pthread_mutex_unlock(&names);
    return fd;
}

static mode_t mode_of(int flags, va_list more) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; }

#define OPEN(name)                            \
    int name(const char *path, int flags, ...) { \
        va_list more;                         \
        va_start(more, flags);                \
        mode_t mode = mode_of(flags, more);   \
        va_end(more);                         \
        return opened(AT_FDCWD, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                   \
    int name(int dir, const char *path, int flags, ...) { \
        va_list more;                                  \
        va_start(more, flags);                         \
        mode_t mode = mode_of(flags, more);            \
        va_end(more);                                  \
        return opened(dir, path, flags, mode);         \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

ssize_t write(int fd, const void *bytes, size_t length) {
    about_to_write(fd, -1, length);
    return syscall(SYS_write, fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    about_to_write(fd, at, length);
    return syscall(SYS_pwrite64, fd, bytes, length, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    size_t length = 0;
    for (int part = 0; part < count; part++) length += parts[part].iov_len;
    about_to_write(fd, -1, length);
    return syscall(SYS_writev, fd, parts, count);
}

int ftruncate64(int fd, off64_t to) {
    struct stat status;
    if (is_ours(fd, &status) && to < status.st_size) keep(fd, status.st_ino, to, status.st_size);
    return syscall(SYS_ftruncate, fd, to);
}

int ftruncate(int fd, off_t to) { return ftruncate64(fd, to); }

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    char rooms[2][PATH_MAX];
    const char *source = absolute(from_dir, from, rooms[0]), *target = absolute(to_dir, to, rooms[1]);
    if (!inside(source) && !inside(target)) return syscall(SYS_renameat, from_dir, from, to_dir, to);
    pthread_mutex_lock(&names);
    uint64_t grave = bury(target);
    int result = syscall(SYS_renameat, from_dir, from, to_dir, to);
    if (result == 0) note_names('R', 0, grave, source, target);
    pthread_mutex_unlock(&names);
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    char room[PATH_MAX];
    const char *target = absolute(to_dir, to, room);
    pthread_mutex_lock(&names);
    int result = syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    if (result == 0 && inside(target)) note_names('L', 0, 0, target, "");
    pthread_mutex_unlock(&names);
    return result;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int dir, const char *given, int flags) {
    char room[PATH_MAX];
    const char *path = absolute(dir, given, room);
    if (!inside(path)) return syscall(SYS_unlinkat, dir, given, flags);
    pthread_mutex_lock(&names);
    uint64_t grave = flags & AT_REMOVEDIR ? 0 : bury(path);
    int result = syscall(SYS_unlinkat, dir, given, flags);
    if (result == 0) note_names(flags & AT_REMOVEDIR ? 'D' : 'U', 0, grave, path, "");
    pthread_mutex_unlock(&names);
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int dir, const char *given, mode_t mode) {
    char room[PATH_MAX];
    const char *path = absolute(dir, given, room);
    pthread_mutex_lock(&names);
    int result = syscall(SYS_mkdirat, dir, given, mode);
    if (result == 0 && inside(path)) note_names('M', 0, 0, path, "");
    pthread_mutex_unlock(&names);
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

void sync_begins(int fd, struct sync_begun *begun) {
    begun->counts = 0;
    struct stat end;
    if (journal < 0 || fstat(fd, &begun->status) != 0 || fstat(journal, &end) != 0) return;
    begun->since = end.st_size;
    begun->counts = S_ISDIR(begun->status.st_mode) || is_ours(fd, &begun->status);
}

void sync_succeeded(int fd, const struct sync_begun *begun) {
    if (!begun->counts) return;
    if (!S_ISDIR(begun->status.st_mode)) return note('S', begun->status.st_ino, begun->status.st_size, begun->since, 0, 0);
    char folder[PATH_MAX];
    ssize_t length = path_of(fd, folder);
    if (length < 0) return;
    note('F', 0, 0, begun->since, folder, length + 1);
}
