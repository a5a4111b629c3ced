/* Threads in a program that is built with -fsanitize=...: its shadow memory takes most of the address space. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 3, ROUNDS = 200 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long sum;

static void *work(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        char *memory = malloc((size_t)i + 1);
        pthread_mutex_lock(&lock);
        sum += getppid() > 0 && memory;
        pthread_mutex_unlock(&lock);
        free(memory);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("sum %ld\n", sum);
    printf("~ %d %p\n", getpid(), (void *)threads);
}
