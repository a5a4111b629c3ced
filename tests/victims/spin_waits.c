/* Two threads hand a turn to and fro, and wait for it by looking at memory: in a bare loop, with `pause`, through a function, counting in
   memory. Each way twice: nothing but memory tells the second wait from the first. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { ROUNDS = 16, WAYS = 4 };

static atomic_int turn;
static unsigned long looked;
static __thread unsigned char in_turn[64];
static volatile unsigned order[2 * ROUNDS], entries, rounds[2];

static __attribute__((noinline)) int is_turn(int mine) { return atomic_load(&turn) == mine; }

/* What is left in registers would tell the rounds apart. */
static void forget(void)
{
    __asm__ volatile("xorl %%eax, %%eax\n\txorl %%ecx, %%ecx\n\txorl %%edx, %%edx\n\txorl %%esi, %%esi\n\txorl %%edi, %%edi\n\t"
                     "xorl %%r8d, %%r8d\n\txorl %%r9d, %%r9d\n\txorl %%r10d, %%r10d\n\txorl %%r11d, %%r11d" ::: "rax", "rcx", "rdx", "rsi",
                     "rdi", "r8", "r9", "r10", "r11", "cc");
}

static __attribute__((noinline)) void wait_for(int mine, unsigned way)
{
    forget();
    if (way == 0) while (atomic_load(&turn) != mine) {}
    if (way == 1) while (atomic_load(&turn) != mine) __builtin_ia32_pause();
    if (way == 2) while (!is_turn(mine)) {}
    if (way == 3) while (!is_turn(mine)) __asm__ volatile("incq %0\n\tincb %1" : "+m"(looked), "+m"(in_turn[5]));
}

static void *work(void *number)
{
    int mine = *(int *)number;
    while (rounds[mine] < ROUNDS) {
        wait_for(mine, rounds[mine] / 2 % WAYS);
        order[entries++] = (unsigned)mine * 100 + rounds[mine]++;
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
    printf("~ %p, looked %lu times\n", (void *)&threads, looked);
    return 0;
}
