/* Two threads on one processor go on in turn, each leaving it to the other by sched_yield. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

enum { TURNS = 50 };
static volatile int ready[2], count;
static char order[2 * TURNS + 1];

static void *run(void *which)
{
    int self = *(int *)which;
    ready[self] = 1;
    do sched_yield();
    while (!ready[!self]);
    for (int i = 0; i < TURNS; i++) {
        order[count++] = (char)('A' + self);
        sched_yield();
    }
    return NULL;
}

int main(void)
{
    int first = 0, second = 1;
    cpu_set_t one;
    pthread_t thread;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    pthread_create(&thread, NULL, run, &second);
    run(&first);
    pthread_join(thread, NULL);
    printf("~ %s\n", order);
    return 0;
}
