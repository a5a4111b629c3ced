/* Two threads that compute in loops of many shapes, each long enough that the other goes first amid it: branches of one and of four
   bytes, loop, calls and returns, a jump to computed addresses, strings, words relative to the instruction pointer, vectors, x87. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static volatile uint64_t word = 3, turns[2];
static uint64_t results[2][16];
static const uint64_t odd = 6364136223846793005u;

static uint64_t by_loop(uint64_t n)
{
    uint64_t sum = 0;
    __asm__ volatile("1: add %1, %0\n loop 1b" : "+r"(sum), "+c"(n));
    return sum;
}

static uint64_t by_itself(uint64_t n)
{
    __asm__ volatile("1: loop 1b" : "+c"(n));
    return n;
}

static uint64_t by_short_branches(uint64_t n)
{
    uint64_t sum = 1;
    __asm__ volatile("1: shl $1, %0\n jnc 2f\n xor $27, %0\n jmp 3f\n 2: inc %0\n 3: dec %1\n jnz 1b" : "+r"(sum), "+r"(n) : : "cc");
    return sum;
}

static uint64_t by_long_branches(uint64_t n)
{
    uint64_t sum = 1;
    __asm__ volatile("1: rol $5, %0\n add %1, %0\n dec %1\n jz 2f\n .skip 200, 0x90\n jmp 1b\n 2:" : "+r"(sum), "+r"(n) : : "cc");
    return sum;
}

static uint64_t by_memory(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) word = word * odd + i, sum ^= word;
    return sum != 0;
}

__attribute__((noinline)) static uint64_t depth(uint64_t n)
{
    __asm__ volatile("");
    return n ? 1 + depth(n - 1) : 0;
}

static uint64_t by_calls(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n / 40; i++) sum += depth(20 + i % 3);
    return sum;
}

static uint64_t by_computed_jumps(uint64_t n)
{
    static const void *const places[] = {&&add, &&twist, &&turn};
    uint64_t sum = 1, i = 0;
next:
    if (i++ == n / 2) return sum;
    goto *places[(sum >> 7) % 3];
add:
    sum += i;
    goto next;
twist:
    sum ^= sum << 13;
    goto next;
turn:
    sum = sum >> 9 | sum << 55;
    goto next;
}

static uint64_t by_strings(uint64_t n)
{
    static __thread char from[3000], to[3000];
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n / 1000; i++) {
        void *source = from, *target = to;
        uint64_t size = sizeof from;
        from[i % sizeof from]++;
        __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(size) : : "memory");
        sum += (uint64_t)to[(i + 1) % sizeof to];
    }
    return sum;
}

static uint64_t by_vectors(uint64_t n)
{
    typedef uint32_t vector __attribute__((vector_size(16)));
    vector sum = {1, 2, 3, 4}, factor = {3, 5, 7, 9};
    for (uint64_t i = 0; i < n; i++) {
        sum = sum * factor + (vector){(uint32_t)i, 1, 1, 1};
        __asm__ volatile("" : "+x"(sum));
    }
    return sum[0] ^ (uint64_t)sum[3] << 32;
}

static uint64_t by_x87(uint64_t n)
{
    long double sum = 1;
    for (uint64_t i = 0; i < n / 4; i++) {
        sum = sum * 1.000001L + 0.5L;
        __asm__ volatile("" : "+t"(sum));
    }
    return (uint64_t)sum;
}

static uint64_t (*const shapes[])(uint64_t) = {by_loop, by_itself, by_short_branches, by_long_branches, by_memory, by_calls, by_computed_jumps, by_strings, by_vectors, by_x87};
enum { SHAPES = sizeof shapes / sizeof *shapes, LENGTH = 12 * 1000 * 1000 };

static void *compute(void *argument)
{
    uint64_t which = (uint64_t)argument;
    for (unsigned i = 0; i < SHAPES; i++) {
        turns[which] = i;
        results[which][i] = shapes[i](LENGTH) + (turns[!which] << 60);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    for (uint64_t i = 0; i < 2; i++) pthread_create(&threads[i], NULL, compute, (void *)i);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < SHAPES; i++) printf("~ %lx %lx\n", results[0][i], results[1][i]);
    printf("last value %lx\n", results[0][3] & 0xffffffff);
    return 0;
}
