/* A disk that takes less than it is given: preloaded, every pwrite of more than 8 KiB writes half.
 *
 * Halves are whole sectors, as O_DIRECT wants them, but not whole pages.  The file named by
 * SHORT_WRITES counts them, in an int64 in the machine's order.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SECTOR = 512, LEAST = 8192 };

static int64_t *count;

__attribute__((constructor)) static void map_count(void)
{
    int fd = open(getenv("SHORT_WRITES"), O_RDWR | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        abort();
    close(fd);
    count = page;
}

ssize_t pwrite64(int fd, const void *content, size_t size, off64_t offset)
{
    if (size > LEAST) {
        size = size / 2 / SECTOR * SECTOR + SECTOR;
        __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
    }
    return syscall(SYS_pwrite64, fd, content, size, offset);
}
