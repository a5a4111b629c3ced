/* A thread whose loop is one instruction, too short for a jump elsewhere, until the process ends: nothing of how it was found there
   is left in its registers. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

static void *spin(void *ignored)
{
    (void)ignored;
    for (;;) __asm__ volatile("1: jmp 1b");
    return NULL;
}

int main(void)
{
    const struct timespec while_ago = {0, 300000000};
    pthread_t thread;
    pthread_create(&thread, NULL, spin, NULL);
    nanosleep(&while_ago, NULL);
    printf("~ %p\nit spins\n", (void *)&thread);
    return 0;
}
