/* Signals that are ignored, or do nothing by default, while their process sleeps in a call: it sleeps on. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 300000, MILLISECOND = 1000 };

static int ends[2], pair[2], epoll, semaphores;

/* Three signals come while the parent sleeps: SIGCHLD is that of the child's own child. */
static pid_t disturb(void)
{
    pid_t pid = fork();
    if (pid) return pid;
    usleep(30 * MILLISECOND);
    for (int i = 0; i < 3; i++) {
        kill(getppid(), SIGWINCH);
        kill(getppid(), SIGUSR1);
        kill(getppid(), SIGCHLD);
        usleep(10 * MILLISECOND);
    }
    _exit(0);
}

static pid_t read_late(void)
{
    static char data[BYTES];
    pid_t pid = fork();
    if (pid) return pid;
    usleep(80 * MILLISECOND);
    for (size_t got = 0; got < BYTES;) got += (size_t)read(ends[0], data + got, BYTES - got);
    _exit(0);
}

static long do_write(void)
{
    static char data[BYTES];
    pid_t reader = read_late();
    long written = write(ends[1], data, BYTES);
    if (written < BYTES) kill(reader, SIGKILL);
    waitpid(reader, NULL, 0);
    return written;
}

static long do_epoll(void)
{
    struct epoll_event event;
    return epoll_wait(epoll, &event, 1, 100);
}

static long do_recv(void)
{
    char byte;
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 100 * MILLISECOND}, sizeof(struct timeval));
    return recv(pair[0], &byte, 1, 0);
}

static long do_semaphore(void)
{
    struct sembuf operation = {0, -1, 0};
    return semtimedop(semaphores, &operation, 1, &(struct timespec){0, 100000000});
}

int main(void)
{
    static const struct {
        const char *name;
        long (*call)(void);
    } calls[] = {{"write", do_write}, {"epoll_wait", do_epoll}, {"recv", do_recv}, {"semtimedop", do_semaphore}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    epoll = epoll_create1(0);
    semaphores = semget(IPC_PRIVATE, 1, 0600);
    if (pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || epoll < 0 || semaphores < 0) abort();
    signal(SIGUSR1, SIG_IGN);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct timespec now;
        pid_t pid = disturb();
        errno = 0;
        long result = calls[i].call();
        printf("%s: %ld, %s\n", calls[i].name, result, strerror(errno));
        waitpid(pid, NULL, 0);
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("~ %ld\n", now.tv_nsec);
    }
    return semctl(semaphores, 0, IPC_RMID);
}
