/* A thread signals its process, whose first task is amid a computation, on its way to a call or asleep in one: the signal is that
   task's, but where one is pending that it has not taken yet. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SIGNALS = 900 };

static atomic_int received, elsewhere, done;
static int pipe_ends[2];

static void count(int signal)
{
    (void)signal;
    if (gettid() != getpid()) elsewhere++;
    received++;
}

static void *send_all(void *none)
{
    for (int i = 0; i < SIGNALS; i++) {
        volatile unsigned turns = 0;
        while (turns < (unsigned)i * 100) turns++;
        kill(getpid(), SIGUSR1);
        while (received <= i) sched_yield();
        if (i == SIGNALS / 2) done = 1;
    }
    if (write(pipe_ends[1], "", 1) != 1) abort();
    return none;
}

int main(void)
{
    const struct sigaction action = {.sa_handler = count};
    pthread_t sender;
    struct timespec now;
    unsigned long calls = 0, interrupted = 0;
    char byte;
    if (pipe(pipe_ends) || sigaction(SIGUSR1, &action, NULL)) return 1;
    pthread_create(&sender, NULL, send_all, NULL);
    for (; !done; calls++) usleep(10);
    while (read(pipe_ends[0], &byte, 1) != 1) interrupted++;
    pthread_join(sender, NULL);
    clock_gettime(CLOCK_REALTIME, &now);
    printf("~ %ld, %lu calls, %lu interrupted, %d elsewhere\n", now.tv_nsec, calls, interrupted, elsewhere);
    printf("%d of %d, nearly all in the first task: %s\n", received, SIGNALS, elsewhere < SIGNALS / 4 ? "yes" : "no");
    return 0;
}
