/* A program that switches its stacks itself: makecontext on small stacks, sigaltstack, a thread of the least stack. */
#define _GNU_SOURCE
#include "raw.h"
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum { CONTEXTS = 5, ROUNDS = 200, STACK = 8192 };

static ucontext_t main_context, contexts[CONTEXTS];
static unsigned long sums[CONTEXTS], trail;
static volatile int came;
static char *alternate;
static volatile int off_alternate;

static void handle(int number)
{
    char local;
    came += number == SIGALRM;
    off_alternate += &local < alternate || &local >= alternate + 65536;
    call0(SYS_getppid);
}

static void run(int which)
{
    unsigned char memory[256];
    for (int i = 0; i < ROUNDS; i++) {
        unsigned long kept = (unsigned long)which << 32 | (unsigned)i;
        for (int j = 0; j <= which; j++) {
            call0(SYS_getppid);
            sums[which] += (unsigned long)call3(SYS_stat, (long)"/", (long)memory, 0) + 1;
        }
        trail = trail * 31 + kept;
        swapcontext(&contexts[which], &contexts[(which + 1) % CONTEXTS]);
        if (kept != ((unsigned long)which << 32 | (unsigned)i))
            abort();
    }
    swapcontext(&contexts[which], which + 1 < CONTEXTS ? &contexts[which + 1] : &main_context);
}

static void *small(void *unused)
{
    unsigned char memory[256];
    (void)unused;
    for (int i = 0; i < 2000; i++)
        call3(SYS_stat, (long)"/", (long)memory, 0);
    return (void *)(long)memory[1];
}

int main(void)
{
    alternate = malloc(65536);
    sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = 65536}, NULL);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESTART}, NULL);
    for (int i = 0; i < CONTEXTS; i++) {
        /* A page that nobody may touch lies below each. */
        char *stack = mmap(NULL, STACK + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(stack + 4096, STACK, PROT_READ | PROT_WRITE);
        getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = stack + 4096;
        contexts[i].uc_stack.ss_size = STACK;
        contexts[i].uc_link = &main_context;
        makecontext(&contexts[i], (void (*)(void))run, 1, i);
    }
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 1000}, {0, 1000}}, NULL);
    swapcontext(&main_context, &contexts[0]);
    while (came < 20)
        call0(SYS_getppid);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
    pthread_t thread;
    pthread_create(&thread, &attributes, small, NULL);
    pthread_join(thread, NULL);
    printf("~ %d %d\n", came, getpid());
    printf("%lu %lu %lu %lu %lu, trail %lx, off the alternate stack %d\n", sums[0], sums[1], sums[2], sums[3], sums[4],
           trail, off_alternate);
    return 0;
}
