/* Two threads that count up one number without a lock, and make no call: what is lost depends on where each is left for the other. */
#include <pthread.h>
#include <stdio.h>

enum { TURNS = 150 * 1000 * 1000 };

static volatile unsigned long shared;
static unsigned long seen[2];

static void *count(void *argument)
{
    unsigned long *changes = argument, before = shared;
    for (unsigned i = 0; i < TURNS; i++) {
        unsigned long present = shared;
        *changes += present != before;
        before = present + 1;
        shared = before;
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, count, &seen[i]);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    printf("~ %lu, lost %lu; left %lu and %lu times\n", shared, 2ul * TURNS - shared, seen[0], seen[1]);
    return 0;
}
