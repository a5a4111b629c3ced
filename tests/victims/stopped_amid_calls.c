/* A process that is stopped and continued from outside (its child is not recorded) while its threads make cheap calls, some with all
   signals blocked. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STOPS = 60, THREADS = 3 };

static volatile int ended;
static int wrong[THREADS], rounds[THREADS];

static void ignore(int signal) { (void)signal; }

static void *make_calls(void *number)
{
    int which = (int)(long)number;
    pid_t parent = getppid();
    sigset_t all, old;
    sigfillset(&all);
    if (which)
        pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (int i = 0; !ended; i++, rounds[which]++) {
        wrong[which] += getppid() != parent;
        if (i % 64 == 0)
            sched_yield();
        if (i % 16)
            continue;
        pthread_sigmask(SIG_BLOCK, NULL, &old);
        wrong[which] += sigismember(&old, SIGUSR1) != (which != 0);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    int status;
    signal(SIGUSR1, ignore);
    pid_t process = getpid(), child = fork();
    if (!child) {
        for (int i = 0; i < STOPS; i++) {
            usleep(2000);
            kill(process, SIGSTOP);
            usleep(500);
            kill(process, SIGCONT);
        }
        _exit(0);
    }
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, make_calls, (void *)i);
    while (waitpid(child, &status, 0) < 0) {
    }
    ended = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("wrong %d %d %d\n", wrong[0], wrong[1], wrong[2]);
    printf("~ rounds %d %d %d\n", rounds[0], rounds[1], rounds[2]);
}
