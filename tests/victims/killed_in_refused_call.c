/* Processes that are killed where they stand at a call that is refused under the recorder: it changes the arguments of such calls. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int killed = 0;
    for (int i = 0; i < 4; i++) {
        pid_t child = fork();
        while (!child) syscall(SYS_rseq, 1, 2, 3, 4, 5, 6);
        usleep(1000 + 200 * i);
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        killed += WIFSIGNALED(status);
        printf("~ %d\n", child);
    }
    printf("%d killed\n", killed);
    return 0;
}
