/* A thread waits for work by looking at the time stamp counter, as OpenBLAS's do, while the one that is to give it some computes; another
   waits so when all ends. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <x86intrin.h>

enum { ROUNDS = 20 };
#define PATIENCE (UINT64_C(1) << 31)

static atomic_int given, done;
static uint64_t looks, given_up;

static void *work(void *none)
{
    for (int round = 1; round <= ROUNDS; round++) {
        uint64_t start = __rdtsc();
        while (atomic_load(&given) != round) {
            looks++;
            if (__rdtsc() - start > PATIENCE) given_up++, start = __rdtsc();
        }
        atomic_store(&done, round);
    }
    return none;
}

static void *wait_for_ever(void *none)
{
    while (__rdtsc()) looks++;
    return none;
}

int main(void)
{
    pthread_t thread, other;
    volatile uint64_t sum = 0;
    pthread_create(&thread, NULL, work, NULL);
    for (int round = 1; round <= ROUNDS; round++) {
        for (uint64_t i = 0; i < 3000000; i++) sum += i * i;
        atomic_store(&given, round);
        while (atomic_load(&done) != round) __rdtsc();
    }
    pthread_join(thread, NULL);
    pthread_create(&other, NULL, wait_for_ever, NULL);
    for (uint64_t i = 0; i < 10000000; i++) sum += i;
    __rdtsc();
    printf("~ %lu looks, given up %lu times, %llu\n", looks, given_up, __rdtsc());
    printf("%d rounds, sum %lu\n", done, sum);
    return 0;
}
