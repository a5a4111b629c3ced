/* Hostile: a program that knows where a replay has its gates, and asks them for a task that nobody traces. Where there is none, it dies. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

int main(int count, char **words)
{
    long place = count > 1 ? strtol(words[1], NULL, 16) : 0, number = SYS_clone;
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    puts("now");
    fflush(stdout);
    __asm__ volatile("sub $256, %%rsp; call *%[place]; add $256, %%rsp"
                     : "+a"(number)
                     : "D"(CLONE_UNTRACED | SIGCHLD), "S"(0), "d"(0), "r"(r10), "r"(r8), [place] "r"(place)
                     : "rcx", "r11", "memory");
    while (!number) {
    }
}
