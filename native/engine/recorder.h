/* The recording loop: one running task at a time, every system call stopped at entry and exit, events encoded
   as they happen. Knows nothing of Python; what needs policy is returned as a `request`. */
#ifndef PYRR_RECORDER_H
#define PYRR_RECORDER_H

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "events.h"
#include "point.h"
#include "scheduler.h"
#include "space.h"
#include "syscall_table.h"
#include "transfer.h"
#include "tracee.h"
#include "wire.h"

enum { ENDED = 256 };
enum { STREAM_DESCRIPTORS = 256, SIGNALS = 65, MAX_PATCHES = 256, MAX_HELD = 64 };

enum disposition { DISPOSITION_DEFAULT, DISPOSITION_IGNORE, DISPOSITION_HANDLER };

/* An instruction replaced by `ud2`, and what stood there. */
struct patch {
    uint64_t address;
    uint8_t original[16];
    size_t size;
};

/* Which descriptors of a table, that CLONE_FILES shares, are the recorder's own stdout (1) and stderr (2): followed
   through dup and close. */
struct descriptors {
    unsigned users;
    uint8_t stream[STREAM_DESCRIPTORS];
};

/* What the tasks of one process share. */
struct group {
    pid_t pid;
    unsigned tasks;
    bool unsettled;  /* a task of it was killed amid its own code: memory is as nobody can find it again */
    bool undumpable; /* as the program believes */
    bool filtered;   /* by a filter of its own, which might not allow what the agent asks */
    struct space *space; /* which CLONE_VM shares among processes */
    uint8_t disposition[SIGNALS];
    bool once[SIGNALS], restarts[SIGNALS]; /* SA_RESETHAND, SA_RESTART */
    struct kernel_sigaction on_segv, on_bus, on_ill, on_trap;
    struct patch patches[MAX_PATCHES];
    size_t patch_count;
};

struct task {
    struct turn turn; /* first, so that a pointer to it is one to the task */
    struct group *group;
    struct descriptors *descriptors;
    int status; /* of a pending stop */
    bool started, in_call, at_boundary, executed;
    bool stopped; /* by a signal, behind its last event */
    bool fatal_fault, fatal_behind; /* about to die: at its own fault or a call, or right behind its last event */
    int resume_signal;
    bool in_agent;   /* stopped amid the hook, whose account of the ring is not to be touched */
    bool redirected; /* to the agent's instruction, from where it is to return to */
    uint64_t return_to;
    uint64_t site; /* of its call, as the program has it */
    struct user_regs_struct entry, exit;
    uint64_t arguments[6];
    const struct syscall_row *row;
    struct buffer inputs;
    size_t input_pairs;
    const struct syscall_row *restart_row; /* the call that restart_syscall goes on with */
    uint64_t restart_arguments[6];
    enum { CALL_PLAIN, CALL_REFUSED, CALL_AFFINITY, CALL_FREE, CALL_ANSWERED, CALL_CANCELLED } call;
    siginfo_t held[MAX_HELD];
    unsigned held_count;
    siginfo_t forwarded[MAX_HELD]; /* signals of the process that are on their way to it, as another was sent them */
    unsigned forwarded_count;
    struct timespec held_since;
    uint64_t held_until; /* so many ticks of its turn, or its next call */
    int64_t answer; /* of CALL_ANSWERED: the kernel was not asked */
    bool cancels; /* a held signal comes at the next call, which the kernel does not begin */
    bool meets;   /* some come in that call instead */
    int frameless; /* the signal whose handler had no room for its frame: SIGSEGV comes in its place */
    enum signal_place frameless_place;
    bool fresh;     /* its last event came since its ticks were counted */
    bool stood_back; /* at an instruction that asks for the time, not carried out yet: others go first */
    unsigned asked_time; /* so often, one after the other, with no other event between */
    uint64_t asked_time_at; /* the number of the event behind the last of these */
    bool drowsy;    /* it has been let begin a call that it may sleep in, though its turn was over */
    bool hurried;   /* others wait: its slice ends at the next occasion */
    bool looked;    /* it is being stopped to see what it does */
    uint64_t stood, stood_for;  /* amid native code: nanoseconds from the start, when it was left there last, and what that took; 0: its turn has come since */
    uint64_t next_stand;        /* before which it is not left so again */
    unsigned vain;              /* so often in a row others have had no use for it */
    unsigned overdue; /* slices since it was hurried first */
    bool died_computing; /* behind its last event, at the tick that its clock shows */
    bool stops;     /* by the signal with which it goes on, before it runs */
    bool preempted; /* at a tick, behind the event that says so, until it is its turn again */
    uint64_t asked; /* to stop at the asked-th tick from now; 0: not */
    bool injecting; /* the next stop for held[0] is the one asked for */
    uint64_t mask; /* blocked signals */
    bool undisturbed; /* it blocks more, as long as its call lasts */
    uint64_t clear_child_tid, set_child_tid, robust_list;
    struct buffer unfinished; /* what its copy of the memory has of calls that had not returned to its parent's other tasks: (address, bytes) */
    size_t unfinished_pairs;
    uint64_t marked; /* the futex that the kernel marked when the task began to wait for it, until that is recorded */
    uint32_t mark;
    cpu_set_t affinity; /* what the program believes */
};

_Static_assert(offsetof(struct task, turn) == 0, "a turn is the head of a task");

enum request {
    REQUEST_NONE,
    REQUEST_EXEC,    /* a new program image is ready to run: take its snapshot */
    REQUEST_MAP,     /* a file was mapped: complete the event with its contents */
    REQUEST_WRITTEN, /* a watched file changed: complete the event with the mapped contents that changed */
    REQUEST_UNKNOWN, /* a call without a row: complete the event with what it may have written */
    REQUEST_CHECKSUM, /* a task stands at the entry of its next call */
    REQUEST_EXITING, /* a task is about to end; its memory is still there */
    REQUEST_LEFT,    /* `left` was created, is not recorded, and runs already */
    REQUEST_FLUSH,
    REQUEST_INTERRUPTED,
    REQUEST_AMID,  /* the subject has been stopped amid its code; `loop` is what it has executed then, a loop if that `repeats` */
    REQUEST_COMPATIBILITY, /* a call by `int 0x80`, whose numbers are those of 32-bit programs */
    REQUEST_DONE,
    REQUEST_FAILED, /* ptrace refused something that must work; errno says what */
};

struct file_identity {
    dev_t device;
    ino_t inode;
};

struct recorder {
    struct scheduler scheduler;
    struct task *subject; /* of the request */
    int64_t result;       /* of the subject's call */
    int exit_status;      /* wait status of the subject */
    pid_t left;
    pid_t root;
    int root_status;
    pid_t ended[ENDED]; /* the last processes that ended, in a ring */
    unsigned ended_count;
    bool deferred, exiting;
    bool root_ended;
    bool wait;          /* for all tasks; else the end of the root is the end of the recording */
    bool follow_forks;  /* else children that do not share memory go unrecorded from their beginning */
    struct file_identity *watched; /* files that are mapped and might be written */
    size_t watched_count;
    uint64_t checksum_every, next_checksum; /* events; 0: never */
    struct agent_image agent; /* empty: none is used */
    struct sites **sites;     /* of all files that have been mapped */
    size_t sites_count;
    uint32_t ring_bytes;
    timer_t slices; /* ticks while several tasks live */
    bool ticking;
    volatile sig_atomic_t ticked;
    struct buffer events; /* since the last flush */
    uint64_t event_count, flushed_count, flushed_bytes;
    struct buffer extra; /* outputs added by policy to a deferred event */
    size_t extra_pairs;
    struct buffer loop; /* registers of the subject before each instruction that it has been led through */
    bool repeats;       /* it has come back to the same ones */
    uint64_t led_since; /* nanoseconds from the start, at its first step to where it is to stand; 0: not yet */
    struct buffer sent; /* output that was never in the task's memory */
    struct file_identity own_stream[3]; /* the recorder's stdout and stderr; device 0: none to follow */
    bool sleeping_writer[3]; /* a task sleeps in a call that writes there */
    struct timespec start, last_flush;
    uint64_t last_time; /* microseconds of the last event */
    cpu_set_t affinity; /* what the program starts with */
    size_t affinity_bytes;
};

/* Memory for the events of a chunk. What is not written to costs nothing, and growing would copy. */
struct buffer recorder_room(void);
void recorder_initialise(struct recorder *recorder);
void recorder_free(struct recorder *recorder);
/* Forks, seizes and executes; -errno when the program cannot be executed. */
int recorder_spawn(struct recorder *recorder, const char *path, char *const argv[], char *const envp[]);
enum request recorder_run(struct recorder *recorder);
/* After REQUEST_AMID: one more turn of the loop, by steps; whether it was the same, and the subject has come back. */
bool recorder_turn(struct recorder *recorder);
/* And then: the subject rests where it is until others have run. What its loop changes, and what it uses and does not change, are arrays
   of the wire, of addresses and contents in turn. */
void recorder_rest(struct recorder *recorder, const struct buffer *changed, const struct buffer *kept);
/* After REQUEST_AMID: whether the subject is to stay where it is: for a signal, or for others. */
bool recorder_may_stand(struct recorder *recorder);
/* Then: leads the subject to its next instruction. False: it has stopped on the way, or is amid code of ours. */
bool recorder_step(struct recorder *recorder, struct user_regs_struct *registers);
/* Memory that other tasks of the subject's have begun to have written by calls. */
void recorder_pending(const struct recorder *recorder, struct ranges *pending);
/* And then: a signal that is held is delivered where the subject is, or it waits there until others have run. `spans` is all that it
   can write, `kept` some of that, as above; `moved` are lengths and displacements of the instructions there (point.h). */
void recorder_stand(struct recorder *recorder, const struct span *spans, size_t count, const struct buffer *kept, const struct buffer *moved);

/* A task that stands still, traced by us, amid a program that is recorded from here on (adopt.c). `memory_of`: a task that has been
   adopted and has the same address space, 0 if none has. `continues`: replay has it right behind its last event, from where
   it does not run on by itself. */
struct adoption {
    pid_t tid, process, memory_of;
    uint64_t clear_child_tid, robust_list;
    bool filtered, undumpable, continues;
};

/* 0, or an errno. The first process that has a task adopted is the root. Parents come before their children. */
int recorder_adopt(struct recorder *recorder, const struct adoption *adoption);
/* What a signal does to an adopted process. False: there is no such process. */
bool recorder_adopt_action(struct recorder *recorder, pid_t process, int signal, const struct kernel_sigaction *action);
/* The next event is number `position`; the one before it came `time` microseconds after the start. */
void recorder_go_on(struct recorder *recorder, uint64_t position, uint64_t time);
/* The events so far have been taken away. */
void recorder_begin_chunk(struct recorder *recorder);
/* The head of an event: [kind, task, delta time, ... and `items` more. */
void recorder_begin_event(struct recorder *recorder, unsigned kind, pid_t task, size_t items);
/* Lets a process go on untraced, with the time stamp counter readable again. */
void recorder_leave(struct recorder *recorder, struct group *group, const char *reason);
void recorder_detach(struct recorder *recorder, const char *reason);
/* Whether every task sleeps until another one wakes it. */
bool recorder_is_deadlocked(const struct recorder *recorder);
void recorder_kill(const struct recorder *recorder);
/* A task of a process that has not ended, as the first may have; 0: there is none. */
pid_t task_of(const struct recorder *recorder, pid_t pid);
/* Whether this is one of the recorded processes, or was until lately. */
bool recorder_knows(const struct recorder *recorder, pid_t pid);
/* Puts the agent into a program that has just been executed. False where the kernel does not let us. */
bool recorder_install(struct recorder *recorder, struct task *task, uint64_t near);
/* Policy is asked when a call changes this file. False: no memory. */
bool recorder_watch(struct recorder *recorder, dev_t device, ino_t inode);
struct task *recorder_find(const struct recorder *recorder, pid_t tid);

#endif
