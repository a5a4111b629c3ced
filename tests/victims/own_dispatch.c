/* The program's own Syscall User Dispatch (include/uapi/linux/prctl.h): a recorder may refuse it, and must say so. */
#define _GNU_SOURCE
#include "raw.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

static volatile char selector;
static volatile int came;

static void handle(int number, siginfo_t *info, void *context)
{
    selector = 0;
    came += number == SIGSYS && info->si_code == 2 /* SYS_USER_DISPATCH */;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 4242;
}

int main(void)
{
    for (int i = 0; i < 500; i++)
        call0(SYS_getppid);
    sigaction(SIGSYS, &(struct sigaction){.sa_sigaction = handle, .sa_flags = SA_SIGINFO}, NULL);
    errno = 0;
    int result = prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, &selector);
    printf("~ %d %s\n", result, strerrorname_np(errno));
    int dispatched = 0;
    for (int i = 0; i < 100; i++) {
        selector = 1;
        dispatched += call0(SYS_getppid) == 4242;
        selector = 0;
        call0(SYS_getppid);
    }
    prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0);
    printf("~ %d\n%s\n", dispatched, dispatched == came && came == (result ? 0 : 100) ? "as answered" : "not as answered");
    printf("wrong arguments %d\n", prctl(PR_SET_SYSCALL_USER_DISPATCH, 7, 0, 0, 0));
    return 0;
}
