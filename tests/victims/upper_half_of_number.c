/* Numbers of calls whose upper half is rubbish: the kernel takes the lower one (do_syscall_64, arch/x86/entry/). */
#define _GNU_SOURCE
#include "raw.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUBBISH(number) ((long)(0x1234567800000000 | (number)))

int main(void)
{
    static char memory[20000];
    printf("~ %ld\n", call0(RUBBISH(SYS_getpid)));
    memset(memory, 'x', sizeof memory);
    int random = open("/dev/urandom", O_RDONLY);
    long size = call3(RUBBISH(SYS_read), random, (long)memory, 10000);
    unsigned sum = 0;
    for (int i = 0; i < 10000; i++)
        sum = sum * 31 + (unsigned char)memory[i];
    printf("read %ld, behind it %c\n~ %u\n", size, memory[10000], sum);
    char *pages = (char *)call6(RUBBISH(SYS_mmap), 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pages[5000] = 'y';
    printf("mapped %c\n", pages[5000]);
    printf("unmapped %ld\n", call3(RUBBISH(SYS_munmap), (long)pages, 8192, 0));
    fflush(stdout);
    long child = call0(RUBBISH(SYS_fork));
    if (child == 0)
        call3(RUBBISH(SYS_exit_group), 3, 0, 0);
    int status = 0;
    waitpid((pid_t)child, &status, 0);
    printf("child %d\n", WEXITSTATUS(status));
    return 0;
}
