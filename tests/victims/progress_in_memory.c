/* A loop that comes back to the same registers, and computes: what it has done is in memory alone. Two processes at once, so that
   each would be left amid it, if that were taken for waiting. */
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 1 << 24 };

static unsigned char done[BYTES];
static uint64_t count;

static void work(void)
{
    __asm__ volatile("1:\n\t"
                     ".rept 60\n\t"
                     "nop\n\t"
                     ".endr\n\t"
                     "movq %0, %%rax\n\t"
                     "movb $1, (%1, %%rax)\n\t"
                     "incq %0\n\t"
                     "cmpq %2, %0\n\t"
                     "jae 2f\n\t"
                     "xorl %%eax, %%eax\n\t"
                     "jmp 1b\n\t"
                     "2:\n\t"
                     : "+m"(count)
                     : "r"(done), "r"((uint64_t)BYTES)
                     : "rax", "cc", "memory");
}

int main(void)
{
    pid_t child = fork();
    uint64_t sum = 0;
    work();
    for (unsigned i = 0; i < BYTES; i++) sum += done[i];
    if (child) waitpid(child, NULL, 0);
    printf("%s %lu of %d\n", child ? "parent" : "child", (unsigned long)sum, BYTES);
    printf("~ %d\n", getpid());
    return 0;
}
