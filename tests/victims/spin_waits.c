/* Two threads hand a turn to and fro, and wait for it by looking at memory: in a bare loop, with `pause`, through a function. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { ROUNDS = 12, WAYS = 3 };

static atomic_int turn;
static unsigned order[2 * ROUNDS], entries;

static __attribute__((noinline)) int is_turn(int mine) { return atomic_load(&turn) == mine; }

static void wait_for(int mine, unsigned way)
{
    if (way == 0) while (atomic_load(&turn) != mine) {}
    if (way == 1) while (atomic_load(&turn) != mine) __builtin_ia32_pause();
    if (way == 2) while (!is_turn(mine)) {}
}

static void *work(void *number)
{
    int mine = *(int *)number;
    for (unsigned round = 0; round < ROUNDS; round++) {
        wait_for(mine, round % WAYS);
        order[entries++] = (unsigned)mine * 100 + round;
        atomic_store(&turn, !mine);
    }
    return NULL;
}

int main(void)
{
    int numbers[2] = {0, 1};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(threads + i, NULL, work, numbers + i);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < entries; i++) printf("%u ", order[i]);
    puts("");
    printf("~ %p\n", (void *)&threads);
    return 0;
}
