/* Instructions whose results come from outside: rdtsc, rdtscp (made to fault by PR_SET_TSC) and rdrand, rdseed
   (replaced by `ud2` where recorder/entropy.py has found them). */
#ifndef PYRR_INSTRUCTION_H
#define PYRR_INSTRUCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

enum { MAX_CHANGES = 4 };

/* Makes the time stamp counter fault in this thread, as it does in the tracees, or not. Where tracer and tracee agree
   the kernel need not write CR4 at each switch between them (__switch_to_xtra), which in a virtual machine is an exit
   to the hypervisor: most of the cost of a stop. */
void trap_counter(bool trap);

/* What an emulated instruction did: its length, and new values of registers by index into user_regs_struct. */
struct instruction {
    const char *name;
    unsigned length, changes;
    unsigned index[MAX_CHANGES];
    uint64_t value[MAX_CHANGES];
};

/* Executes here the instruction that `code` holds, for a task with these registers. False if it is none of them. */
bool instruction_emulate(const uint8_t *code, size_t size, const struct user_regs_struct *registers,
                         struct instruction *instruction);

/* Applies what was emulated: registers, and the instruction pointer behind it. False on an index out of range. */
bool instruction_apply(const struct instruction *instruction, struct user_regs_struct *registers);

#endif
