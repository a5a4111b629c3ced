/* What the tracer does to one stopped task: registers, memory, waiting, spawning. */
#ifndef PYRR_TRACEE_H
#define PYRR_TRACEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>

/* TASK_SIZE with four levels of page tables. */
#define ADDRESS_LIMIT UINT64_C(0x7ffffffff000)

enum { PAGE_BYTES = 4096, SYSCALL_INSTRUCTION_BYTES = 2, XSTATE_BYTES = 16384 };

/* Results of -512..-516 never reach user space: they tell the kernel's own signal code to restart the call
   (include/linux/errno.h). A tracer sees them at the exit stop. */
enum { ERESTARTSYS_ = 512, ERESTARTNOINTR_ = 513, ERESTARTNOHAND_ = 514, ERESTART_RESTARTBLOCK_ = 516 };

/* si_code of SIGSYS for a call that Syscall User Dispatch keeps from the kernel. Since Linux 5.11; not in older headers. */
enum { SYS_USER_DISPATCH_ = 2 };

static inline bool is_restart(int64_t result) { return result <= -ERESTARTSYS_ && result >= -ERESTART_RESTARTBLOCK_; }

/* Each returns 0, or -1 with errno set. */
int tracee_get_registers(pid_t tid, struct user_regs_struct *registers);
int tracee_set_registers(pid_t tid, const struct user_regs_struct *registers);
/* How many instructions a loop may have in which a task waits for another by looking at memory. */
enum { LONGEST_LOOP = 96 };
/* Whether the instruction is a system call, or cannot be read. */
bool tracee_at_call(pid_t tid, uint64_t rip);
/* Whether registers are the same, but for what debugging leaves in the flags. */
bool tracee_same_place(const struct user_regs_struct *one, const struct user_regs_struct *other);
/* Sets the registers with which a system call instruction makes this call. */
void tracee_prepare_call(struct user_regs_struct *registers, uint64_t number, const uint64_t arguments[6]);
/* The XSAVE area; *size is the room on entry and the length on return. */
int tracee_get_xstate(pid_t tid, void *area, size_t *size);
int tracee_set_xstate(pid_t tid, const void *area, size_t size);
/* As tracee_get_xstate, of a state that does not change by itself when the task runs on. `begins`: at a program's or handler's first
   instruction, where it may be changed. */
int tracee_settle_xstate(pid_t tid, void *area, size_t *size, bool begins);

/* Copies as much as is readable, in order; returns the number of bytes. */
size_t tracee_read(pid_t pid, uint64_t address, void *to, size_t size);
/* Reads `count` pieces into one buffer, one after the other; false if any of it is unreadable. */
bool tracee_gather(pid_t pid, const struct iovec *remote, size_t count, void *to, size_t size);
/* Writes past page protections; false if not all of it could be written. */
bool tracee_write(pid_t pid, uint64_t address, const void *from, size_t size);
/* A descriptor of its memory, for many accesses to what is protected; negative: an error. */
int tracee_open_memory(pid_t pid, int flags);

enum { TRAP_FLAG = 0x100, RESUME_FLAG = 0x10000 }; /* in eflags */

/* si_code of a SIGTRAP (asm-generic/siginfo.h): of a debug exception that DR6 says nothing of, of a step, of a debug register.
   What DR6 says is not always true: KVM before Linux 6.14 may lose it, and with it that there was a step or which register it
   was; or it adds a step that has been before ("KVM: x86: Load DR6 with guest value only before entering .vcpu_run() loop").
   Seen here once in half a million steps, bare, on loaded processors. An int1 of the program has TRAP_BRKPT_ too, an int3 SI_KERNEL. */
enum { TRAP_BRKPT_ = 1, TRAP_TRACE_ = 2, TRAP_HWBKPT_ = 4 };
/* Of the stop of a debug exception, which the program has not made itself, one of these; 0 of another stop. `code` is the instruction
   that was executed. */
int tracee_debug_stop(pid_t tid, int status, uint8_t code);

/* waitpid for one task, through interruptions; false when it is not ours. */
bool tracee_wait(pid_t tid, int *status);

/* Makes the stopped task run one system call where it stands, over bytes and registers that are put back.
   A call that a stop had interrupted is restarted as the kernel would. Returns its result; *dead tells that the task
   ended on the way. */
int64_t tracee_inject(pid_t tid, uint64_t number, const uint64_t arguments[6], bool *dead);
/* The same at a syscall instruction that is there already. */
int64_t tracee_inject_at(pid_t tid, uint64_t place, uint64_t number, const uint64_t arguments[6], bool *dead);
/* And a call that makes a task: `born` is its id here, where the result may be that of another namespace. */
int64_t tracee_inject_clone(pid_t tid, uint64_t place, uint64_t number, const uint64_t arguments[6], bool *dead, pid_t *born);

/* 'R', 'S', 't', ... from /proc/TID/stat; 0 when it is gone. */
char tracee_state(pid_t tid);

#endif
