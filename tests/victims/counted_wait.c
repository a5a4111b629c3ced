/* A thread that waits for another and counts how often it has looked: no turn of its loop is like the one before, so that only
   the count tells where it is left for the other to run. */
#include <pthread.h>
#include <stdio.h>

static volatile int ready;
static unsigned long looked;

static void *answer(void *ignored)
{
    (void)ignored;
    unsigned long sum = 0;
    for (unsigned i = 0; i < 1000; i++) sum += i * i;
    ready = sum != 0;
    return NULL;
}

int main(void)
{
    pthread_t thread;
    for (int i = 0; i < 3; i++) {
        ready = 0;
        pthread_create(&thread, NULL, answer, NULL);
        while (!ready) looked++;
        pthread_join(thread, NULL);
        printf("answer %d\n~ after %lu looks\n", i + 1, looked);
    }
    return 0;
}
