/* Processes and threads that end while threads of theirs are in the midst of cheap system calls. */
#define _GNU_SOURCE
#include "raw.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8 };

static volatile long counts[THREADS];
static int ready[2];

static void *endless(void *which)
{
    char memory[256];
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (long i = 0;; i++) {
        counts[(long)which]++;
        call0(SYS_getppid);
        call3(SYS_stat, (long)"/", (long)memory, 0);
        if (i == 100)
            call3(SYS_write, ready[1], (long)"r", 1);
    }
    return NULL;
}

static pthread_t threads[THREADS];

/* All threads have made some calls when it returns. */
static void start(void)
{
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, endless, (void *)i);
    char byte;
    for (int i = 0; i < THREADS; i++)
        if (read(ready[0], &byte, 1) != 1)
            abort();
}

static void by_main(void)
{
    start();
    _exit(11);
}

static void *leave(void *unused)
{
    (void)unused;
    for (int i = 0; i < 500; i++)
        call0(SYS_getppid);
    call3(SYS_exit_group, 12, 0, 0);
    return NULL;
}

static void by_thread(void)
{
    pthread_t last;
    start();
    pthread_create(&last, NULL, leave, NULL);
    endless(NULL);
}

static void by_signal(void)
{
    start();
    kill(getpid(), SIGTERM);
    endless(NULL);
}

static void by_exec(void)
{
    start();
    execl("/bin/sh", "sh", "-c", "exit 13", NULL);
}

static void by_cancelling(void)
{
    start();
    int cancelled = 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_cancel(threads[i]);
        pthread_join(threads[i], &result);
        cancelled += result == PTHREAD_CANCELED;
    }
    _exit(20 + cancelled);
}

static void *last_one(void *unused)
{
    char memory[256];
    (void)unused;
    for (int i = 0; i < 3000; i++)
        call3(SYS_stat, (long)"/", (long)memory, 0);
    _exit(14);
}

static void by_last_thread(void)
{
    pthread_t last;
    pthread_create(&last, NULL, last_one, NULL);
    pthread_exit(NULL);
}

static void *fault(void *unused)
{
    (void)unused;
    for (int i = 0; i < 100; i++)
        call0(SYS_getppid);
    volatile int *volatile nowhere = NULL;
    *nowhere = 1;
    return NULL;
}

static void by_fault(void)
{
    pthread_t last;
    start();
    pthread_create(&last, NULL, fault, NULL);
    endless(NULL);
}

static void in_child(const char *name, void (*act)(void), int killed)
{
    fflush(stdout);
    if (pipe(ready))
        exit(2);
    int own[2] = {ready[0], ready[1]};
    pid_t child = fork();
    if (child == 0) {
        if (killed && pipe(ready))
            exit(2);
        if (killed) {
            start();
            call3(SYS_write, own[1], (long)"k", 1);
            endless(NULL);
        }
        act();
        _exit(99);
    }
    char byte;
    if (killed && read(own[0], &byte, 1) == 1) {
        for (int i = 0; i < 200; i++)
            call0(SYS_getppid);
        kill(child, SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%s: %s %d\n", name, WIFSIGNALED(status) ? "signal" : "status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    close(own[0]);
    close(own[1]);
}

int main(void)
{
    printf("~ %d\n", getpid());
    in_child("main thread", by_main, 0);
    in_child("thread", by_thread, 0);
    in_child("signal", by_signal, 0);
    in_child("exec", by_exec, 0);
    in_child("cancelled", by_cancelling, 0);
    in_child("last thread", by_last_thread, 0);
    in_child("fault", by_fault, 0);
    in_child("killed", NULL, 1);
    return 0;
}
