/* Calls that end with EFAULT though they have written a part of their output: the pages before the bad one. */
#define HALF_WAY
#include "bad_pointers.c"
