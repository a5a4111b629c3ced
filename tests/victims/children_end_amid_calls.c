/* Children that end while their parent makes cheap system calls: SIGCHLD, with a handler that waits for them. */
#define _GNU_SOURCE
#include "raw.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 30 };

static volatile int ended, handled, statuses;
static volatile unsigned long rounds, at_end;

static void handle(int number)
{
    int saved = errno, status;
    handled += number == SIGCHLD;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        ended++;
        statuses += WEXITSTATUS(status);
        at_end = at_end * 31 + rounds;
    }
    errno = saved;
}

int main(void)
{
    char memory[256];
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = handle, .sa_flags = SA_RESTART}, NULL);
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        if (child == 0) {
            for (int j = 0; j < 100 * i; j++)
                call0(SYS_getppid);
            _exit(i);
        }
        if (child < 0)
            return 2;
        for (int j = 0; j < 50; j++)
            call3(SYS_stat, (long)"/", (long)memory, 0);
    }
    for (; ended < CHILDREN; rounds++) {
        call0(SYS_getppid);
        call3(SYS_stat, (long)"/", (long)memory, 0);
    }
    printf("~ %lu %lu %d\n", rounds, at_end, handled);
    printf("%d ended, statuses %d\n", ended, statuses);
    return 0;
}
