/* A library that makes system calls, for library_swapped.py: compiled twice, with two numbers. */
#include "raw.h"

#ifndef OTHER
long answer(void) { return call0(110) ? 1 : 0; } /* getppid */
#else
static volatile int count;
long answer(void)
{
    count++;
    return call3(0, 999, 0, 0) == -9 ? 2 : 0; /* read */
}
#endif
