/* What shim.c tells disk.c of a sync: noted before it begins, said when it has succeeded. */
#include <stdint.h>
#include <sys/stat.h>

struct sync_begun {
    struct stat status;
    uint64_t since;
    int counts;
};

void sync_begins(int fd, struct sync_begun *begun);
void sync_succeeded(int fd, const struct sync_begun *begun);
