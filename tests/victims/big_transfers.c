/* Thousands of reads of 1 MB and 5 MB; vectors of 1,000 parts. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MB = 1 << 20, READS = 2000, PARTS = 1000 };

static uint64_t total, mixed;

static void see(const char *bytes, long count)
{
    if (count < 0)
        abort();
    total += (uint64_t)count;
    for (long i = 0; i < count; i += 4001)
        mixed = mixed * 31 + (unsigned char)bytes[i];
}

int main(void)
{
    static char memory[5 * MB];
    char path[4096];
    struct iovec parts[PARTS + 24];
    snprintf(path, sizeof path, "%s/victim-XXXXXX", getenv("TMPDIR"));
    int file = mkstemp(path), null = open("/dev/null", O_WRONLY);
    unlink(path);
    for (unsigned i = 0; i < sizeof memory; i++)
        memory[i] = (char)(i * (i >> 13));
    if (write(file, memory, sizeof memory) != sizeof memory)
        return 2;
    printf("~ %d\n", getpid());
    for (int i = 0; i < READS; i++)
        see(memory, pread(file, memory, MB, (i % 4) * (MB + 77)));
    printf("%lu %lx\n", total, mixed);
    for (int i = 0; i < READS / 40; i++) {
        see(memory, pread(file, memory, 5 * MB, i));
        see(memory, write(null, memory, 5 * MB));
    }
    printf("%lu %lx\n", total, mixed);
    /* Every size up to what a small buffer, a page and a big buffer hold. */
    for (int size = 0; size < 20000; size = size * 9 / 8 + 1)
        see(memory, pread(file, memory, (size_t)size, size));
    for (int around = 1 << 12; around <= 1 << 21; around *= 2)
        for (int size = around - 2; size <= around + 2; size++)
            see(memory, pread(file, memory, (size_t)size, 3));
    printf("%lu %lx\n", total, mixed);
    for (int again = 0; again < 50; again++) {
        for (int i = 0; i < PARTS + 24; i++)
            parts[i] = (struct iovec){memory + 5000 * i, (size_t)((i * 7 + again) % 600)};
        see(memory, preadv(file, parts, PARTS, again * 1000));
        see(memory, writev(null, parts, PARTS));
        see(memory, preadv(file, parts, PARTS + 24, 0));
    }
    printf("%lu %lx, too many %ld\n", total, mixed, syscall(SYS_preadv, file, parts, 1025, 0));
    lseek(file, 0, SEEK_SET);
    struct iovec overlapping[3] = {{memory, 1000}, {memory + 500, 1000}, {memory + 250, 1000}};
    see(memory, readv(file, overlapping, 3));
    see(memory, syscall(SYS_pread64, file, memory, INT_MAX, 4 * MB));
    see(memory, pread(file, memory, 10, 5 * MB));
    printf("%lu %lx\n", total, mixed);
    return 0;
}
