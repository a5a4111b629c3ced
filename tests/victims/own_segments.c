/* The program moves its fs and gs, as runtimes with their own thread-local storage do, and makes calls meanwhile. */
#define _GNU_SOURCE
#include "raw.h"
#include <asm/prctl.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t area[64] __attribute__((aligned(64)));

/* Nothing in here may use the thread's own storage: no libc, no stack protector. */
__attribute__((noinline, optimize("no-stack-protector"))) static long with(uint64_t fs, uint64_t gs, int zero, long parent)
{
    static char memory[256];
    uint64_t old_fs, old_gs, found;
    long right = 0;
    call3(SYS_arch_prctl, ARCH_GET_FS, (long)&old_fs, 0);
    call3(SYS_arch_prctl, ARCH_GET_GS, (long)&old_gs, 0);
    call3(SYS_arch_prctl, ARCH_SET_FS, (long)fs, 0);
    call3(SYS_arch_prctl, ARCH_SET_GS, (long)gs, 0);
    for (int i = 0; i < 300; i++) {
        right += call0(SYS_getppid) == parent;
        right += call3(SYS_read, zero, (long)memory, 100) == 100;
        right += call3(SYS_stat, (long)"/", (long)memory, 0) == 0;
        right += call3(SYS_read, zero, 16, 100) == -14;
    }
    right += call3(SYS_arch_prctl, ARCH_GET_FS, (long)&found, 0) == 0 && found == fs;
    right += call3(SYS_arch_prctl, ARCH_GET_GS, (long)&found, 0) == 0 && found == gs;
    call3(SYS_arch_prctl, ARCH_SET_FS, (long)old_fs, 0);
    call3(SYS_arch_prctl, ARCH_SET_GS, (long)old_gs, 0);
    return right;
}

int main(void)
{
    int zero = open("/dev/zero", O_RDONLY);
    long parent = getppid();
    printf("~ %ld %d\n", parent, getpid());
    for (int i = 0; i < 64; i++)
        area[i] = (uint64_t)i * 0x0101010101010101;
    printf("null %ld\n", with(0, 0, zero, parent));
    printf("own %ld\n", with((uint64_t)&area[8], (uint64_t)&area[32], zero, parent));
    printf("unmapped %ld\n", with(0x10000, 0x20000, zero, parent));
    printf("wrong place %ld\n", call3(SYS_arch_prctl, ARCH_SET_GS, (long)0x8000000000000000, 0));
    int changed = 0;
    for (int i = 0; i < 64; i++)
        changed += area[i] != (uint64_t)i * 0x0101010101010101;
    printf("changed %d\n", changed);
    return 0;
}
