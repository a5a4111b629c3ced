/* Threads among cheap calls: two that alternate by a pipe, two by a lock, eight that only count. */
#define _GNU_SOURCE
#include "raw.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROUNDS = 300, THREADS = 8, CALLS = 2000 };

static int there[2], back[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turn, order[THREADS], ended;
static unsigned long trail;

static int cheap(int count)
{
    char memory[256];
    int good = 0;
    for (int i = 0; i < count; i++)
        good += call0(SYS_getppid) > 0 && call3(SYS_stat, (long)"/", (long)memory, 0) == 0;
    return good;
}

static void *answer(void *unused)
{
    char byte;
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        if (read(there[0], &byte, 1) != 1)
            abort();
        cheap(i % 7);
        byte++;
        if (write(back[1], &byte, 1) != 1)
            abort();
    }
    return NULL;
}

static void by_pipe(void)
{
    pthread_t thread;
    int right = 0;
    pthread_create(&thread, NULL, answer, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        char byte = (char)i, got = 0;
        if (write(there[1], &byte, 1) != 1)
            abort();
        cheap(i % 11);
        right += read(back[0], &got, 1) == 1 && got == (char)(byte + 1);
    }
    pthread_join(thread, NULL);
    printf("by pipe %d\n", right);
}

static void *take_turns(void *which)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&lock);
        while (turn != (int)(long)which)
            pthread_cond_wait(&turned, &lock);
        turn = !turn;
        cheap(i % 5);
        pthread_cond_signal(&turned);
        pthread_mutex_unlock(&lock);
        cheap(i % 3);
    }
    return NULL;
}

/* Whoever comes first: what they leave tells the order. */
static void *contend(void *which)
{
    for (int i = 0; i < ROUNDS; i++) {
        cheap(i % 4);
        pthread_mutex_lock(&lock);
        trail = trail * 33 + (unsigned long)which;
        cheap(1);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *count(void *which)
{
    long good = 0;
    long parent = call0(SYS_getppid);
    for (int i = 0; i < CALLS; i++)
        good += call0(SYS_getppid) == parent;
    order[__atomic_fetch_add(&ended, 1, __ATOMIC_SEQ_CST)] = (int)(long)which;
    return (void *)good;
}

static long all(int number, void *(*run)(void *))
{
    pthread_t threads[THREADS];
    long sum = 0;
    for (long i = 0; i < number; i++)
        pthread_create(&threads[i], NULL, run, (void *)i);
    for (int i = 0; i < number; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    return sum;
}

int main(void)
{
    if (pipe(there) || pipe(back))
        return 2;
    printf("~ %d\n", getpid());
    by_pipe();
    all(2, take_turns);
    printf("by lock, turn %d\n", turn);
    all(4, contend);
    printf("~ trail %lx\n", trail);
    long good = all(THREADS, count);
    printf("counted %ld, ended %d\n", good, ended);
    for (int i = 0; i < THREADS; i++)
        printf("~ %d\n", order[i]);
    return 0;
}
