/* Two threads that compute in rounds, and count these in memory: each is left amid one of them for the other. */
#include <pthread.h>
#include <stdio.h>

enum { ROUNDS = 3000, STEPS = 20000 };

static volatile unsigned long rounds[2];
static unsigned long results[2];

static void *compute(void *argument)
{
    unsigned long which = (unsigned long)argument, state = which + 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned k = 0; k < STEPS; k++) state = state * 6364136223846793005ul + 1442695040888963407ul + rounds[!which];
        rounds[which]++;
    }
    results[which] = state;
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    printf("~ %p\n", (void *)rounds);
    fflush(stdout);
    for (unsigned long i = 0; i < 2; i++) pthread_create(&threads[i], NULL, compute, (void *)i);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    printf("~ %lx %lx\n", results[0], results[1]);
    printf("%lu and %lu rounds\n", rounds[0], rounds[1]);
    return 0;
}
