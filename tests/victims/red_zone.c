/* A leaf function keeps data in the 128 bytes below its stack pointer while it makes system calls. */
#include "raw.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* As a compiler does it: no call, so the array lies in the red zone. */
__attribute__((noinline)) static uint64_t leaf(uint64_t seed, long number, long a, long b, long c)
{
    volatile uint64_t kept[12];
    for (int i = 0; i < 12; i++)
        kept[i] = seed * (unsigned)(i + 1);
    call3(number, a, b, c);
    uint64_t wrong = 0;
    for (int i = 0; i < 12; i++)
        wrong += kept[i] != seed * (unsigned)(i + 1);
    return wrong;
}

/* All of it, to the last byte. Answers how many of the 16 words were changed. */
uint64_t all_of_it(uint64_t seed, long number, long a, long b, long c);
__asm__(".text\n"
        "all_of_it: mov %rsi, %rax\n mov %rdi, %r9\n mov %rdx, %rdi\n mov %rcx, %rsi\n mov %r8, %rdx\n"
        "mov $-16, %r8\n"
        "1: mov %r9, (%rsp,%r8,8)\n add %r8, (%rsp,%r8,8)\n inc %r8\n jnz 1b\n"
        "syscall\n"
        "xor %eax, %eax\n mov $-16, %r8\n"
        "2: mov %r9, %rdx\n add %r8, %rdx\n cmp %rdx, (%rsp,%r8,8)\n je 3f\n inc %eax\n"
        "3: inc %r8\n jnz 2b\n ret\n");

int main(void)
{
    static char memory[20000];
    int ends[2];
    uint64_t wrong = 0;
    struct timeval time;
    if (pipe(ends))
        return 1;
    gettimeofday(&time, NULL);
    printf("~ %ld\n", (long)time.tv_usec);
    for (unsigned i = 1; i <= 1000; i++) {
        uint64_t seed = i * 0x9e3779b97f4a7c15;
        const long calls[][4] = {
            {SYS_getppid},
            {SYS_stat, (long)"/", (long)memory, 0},
            {SYS_write, ends[1], (long)memory, 4000},
            {SYS_read, ends[0], (long)memory, 4000},
            {SYS_clock_gettime, 1, (long)memory, 0},
            {SYS_read, 999, (long)memory, 1},
            {SYS_read, ends[0], (long)memory, 0},
            {1000},
        };
        for (unsigned j = 0; j < sizeof calls / sizeof *calls; j++) {
            wrong += leaf(seed, calls[j][0], calls[j][1], calls[j][2], calls[j][3]);
            wrong += 1 + j == 3 || 1 + j == 4 ? 0 : all_of_it(seed, calls[j][0], calls[j][1], calls[j][2], calls[j][3]);
        }
    }
    printf("%lu words were changed\n", wrong);
    return 0;
}
