/* A handler that makes system calls itself and leaves by siglongjmp, out of cheap calls and out of waiting ones. */
#define _GNU_SOURCE
#include "raw.h"
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum { WANTED = 200 };

static sigjmp_buf back;
static volatile int jumps, wrong;
static volatile unsigned long calls, at_jump;
static int own[2], waiting[2];

static void handle(int number)
{
    char byte = (char)jumps, got = 0;
    struct stat about;
    wrong += number != SIGALRM;
    wrong += write(own[1], &byte, 1) != 1 || read(own[0], &got, 1) != 1 || got != byte;
    wrong += stat("/", &about) != 0 || call0(SYS_getppid) != getppid();
    at_jump = at_jump * 31 + calls;
    jumps++;
    siglongjmp(back, 1 + jumps);
}

static void cheap_calls(void)
{
    char memory[256];
    for (;;) {
        calls++;
        call0(SYS_getppid);
        call3(SYS_stat, (long)"/", (long)memory, 0);
        call3(SYS_read, 999, (long)memory, 10);
        call3(SYS_fstat, own[0], (long)memory, 0);
    }
}

static void wait_for_ever(void)
{
    char byte;
    wrong += read(waiting[0], &byte, 1) != 1000;
    abort();
}

int main(void)
{
    static char stack[1 << 16];
    if (pipe(own) || pipe(waiting))
        return 2;
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = handle, .sa_flags = SA_RESTART}, NULL);
    sigset_t now;
    for (;;) {
        int value = sigsetjmp(back, 1);
        if (value)
            wrong += value != 1 + jumps;
        sigprocmask(SIG_BLOCK, NULL, &now);
        wrong += sigismember(&now, SIGALRM) != 0;
        if (jumps == WANTED)
            break;
        if (jumps == WANTED / 2) /* the second half on a stack of its own */
            sigaction(SIGALRM, &(struct sigaction){.sa_handler = handle, .sa_flags = SA_ONSTACK}, NULL);
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 700 + 100 * (jumps % 13)}}, NULL);
        if (jumps % 4)
            cheap_calls();
        else
            wait_for_ever();
    }
    printf("~ %lu %lu\n", calls, at_jump);
    printf("%d jumps, %d wrong\n", jumps, wrong);
    return 0;
}
