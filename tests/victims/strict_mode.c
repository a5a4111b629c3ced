/* Strict seccomp: read, write, exit and sigreturn are all that is left; another call kills. */
#define _GNU_SOURCE
#include "raw.h"
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void child(int allowed_only)
{
    char memory[64] = {0};
    long bytes = 0;
    int zero = open("/dev/zero", O_RDWR);
    for (int i = 0; i < 300; i++)
        bytes += call3(SYS_read, zero, (long)memory, sizeof memory);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    for (int i = 0; i < 300; i++)
        bytes += call3(SYS_read, zero, (long)memory, sizeof memory) + call3(SYS_write, zero, (long)memory, 10);
    if (bytes == 600 * 64 + 300 * 10)
        call3(SYS_write, 1, (long)"still here\n", 11);
    if (!allowed_only)
        call0(SYS_getppid);
    call3(SYS_exit, 5, 0, 0);
}

int main(void)
{
    printf("~ %d\n", getpid());
    for (int i = 0; i < 2; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            child(i == 0);
        int status;
        waitpid(pid, &status, 0);
        printf("%s %d\n", WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    return 0;
}
