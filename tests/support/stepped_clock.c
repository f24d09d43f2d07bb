/* A system clock that a test sets: preloaded, CLOCK_REALTIME is so many seconds from the truth.
 *
 * The file named by STEPPED_CLOCK holds them, an int64 in the machine's order.  libfaketime 0.9.10
 * cannot be used: its clock_nanosleep fails at times with EINVAL, which time.sleep() raises.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *step;

__attribute__((constructor)) static void map_step(void)
{
    int fd = open(getenv("STEPPED_CLOCK"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *step, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        abort();
    close(fd);
    step = page;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME)
        now->tv_sec += *step;
    return failed;
}
