/* Threads and signal handlers that make calls after the recorder has let them go, at sites that were patched before: `call` ends the
   recording by a call of int 0x80; in `fork` a child does the rest, which is not followed. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 100000, THREADS = 3 };

static volatile int gone;
static int wrong[THREADS + 1], in_handler;

static int make_calls(int count)
{
    int bad = 0;
    pid_t parent = getppid();
    for (int i = 0; i < count; i++)
        bad += getppid() != parent;
    return bad;
}

static void handle(int signal)
{
    (void)signal;
    in_handler += make_calls(5);
}

static void *work(void *number)
{
    int which = (int)(long)number;
    wrong[which] = make_calls(100);
    while (!gone)
        usleep(1000);
    wrong[which] += make_calls(CALLS);
    return NULL;
}

static void leave(const char *way)
{
    int number = 20;
    if (strcmp(way, "call") == 0)
        __asm__ volatile("int $0x80" : "+a"(number) : : "memory", "r8", "r9", "r10", "r11");
    gone = 1;
}

static void make_all(const char *way)
{
    struct itimerval often = {{0, 1000}, {0, 1000}};
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    usleep(20000);
    leave(way);
    signal(SIGALRM, handle);
    setitimer(ITIMER_REAL, &often, NULL);
    wrong[THREADS] = make_calls(CALLS);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("wrong %d %d %d %d %d\n", wrong[0], wrong[1], wrong[2], wrong[3], in_handler);
    fflush(stdout);
}

int main(int count, char **words)
{
    int status = 0;
    make_calls(100);
    if (count < 2 || strcmp(words[1], "fork")) {
        make_all("call");
        return 0;
    }
    pid_t child = fork();
    if (!child) {
        make_all("fork");
        _exit(0);
    }
    waitpid(child, &status, 0);
    printf("status %#x\n", status);
}
