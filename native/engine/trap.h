/* Stops at places that a replayed program reads, writes or executes: four of them in the debug registers of its tasks, and
   more for execution, as an int3 in its code, which is there only while the task runs. The program cannot tell, but of the
   latter by reading its own code. A place between two events is "the k-th hit of a trap behind
   event N", so hits are counted, and the count starts anew behind each event. What the agent, or the replayer, writes for a
   system call counts as one hit behind its event.
   Debug registers are set in a task that is about to run; copies (checkpoints, clones) begin without. */
#ifndef PYRR_TRAP_H
#define PYRR_TRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

enum { DEBUG_REGISTERS = 4, TRAPS = 64, LOGGED_HITS = 1 << 16 };

/* As DR7 has them. */
enum trap_kind { TRAP_EXECUTE = 0, TRAP_WRITE = 1, TRAP_ACCESS = 3 };

struct value_range {
    uint64_t first, last;
};

struct trap {
    uint64_t address;
    unsigned size; /* 1, 2, 4, 8; 1 to execute */
    enum trap_kind kind;
    pid_t task; /* as recorded; 0: all of them */
    /* Where there are ranges, a hit counts only if what lies there then, taken as an unsigned number, is in one of them
       (`except`: in none). They are sorted. */
    struct value_range *ranges;
    size_t range_count;
    bool except;
    /* It stops at hit number `stop_at` behind event `stop_event` (ANY_EVENT: behind whichever); 0: never, it is only
       counted and logged. */
    uint64_t stop_event, stop_at;
    uint64_t hits; /* behind `event` of the set */
    uint64_t in_tick; /* of these, behind its last tick */
    uint64_t noted; /* what lay there before the event */
    bool output;    /* the event writes there */
    unsigned slot;  /* its debug register; DEBUG_REGISTERS: an int3 stands for it while a task runs, */
    uint64_t put;   /* here, if not 0 */
    uint8_t original;
};

#define ANY_EVENT UINT64_MAX

struct hit {
    uint64_t event, count;
    uint64_t stop;  /* number of the stop: hits of one instruction share it */
    uint64_t value; /* what lies there then, of data */
    uint64_t ticks, in_tick; /* of the bytecode clock behind the event; and which hit behind the last one it is */
    unsigned trap;
};

struct trap_set {
    struct trap trap[TRAPS];
    size_t count;
    uint64_t generation; /* of the set; a task has the one it was armed with */
    uint64_t event;      /* behind which hits are counted now */
    uint64_t ticks;      /* behind that event, at the last hit */
    uint64_t stopped;    /* bits of the traps that have stopped the task */
    pid_t task;          /* which one */
    struct hit *log;     /* the last LOGGED_HITS, in a ring */
    uint64_t logged, stops;
};

/* Takes the set over: `ranges` become its own. False where it watches more memory than there are debug registers. */
bool trap_set_replace(struct trap_set *set, const struct trap *traps, size_t count);
void trap_set_free(struct trap_set *set);
/* Counting begins anew: behind an event, or amid the run that follows it. */
void trap_set_begin(struct trap_set *set, uint64_t event);
/* Puts the set into the debug registers of a stopped task. Returns 0 or errno. */
int trap_arm(const struct trap_set *set, pid_t task, pid_t real);
/* The same, with one more of the free debug registers for an address that is executed, if no trap lies there. False: none is free. */
bool trap_await(const struct trap_set *set, pid_t task, pid_t real, uint64_t address);
/* Whether a stop of a task that has not been made to step is that of a debug register; `hit` are the bits of the traps, and
   `lost` that there are none because the processor does not say which it was. */
bool trap_is_hit(const struct trap_set *set, pid_t task, pid_t real, int status, const struct user_regs_struct *registers, uint64_t *hit, bool *lost);
/* The bits of the traps whose debug registers the last step or trap has met. */
uint64_t trap_status(const struct trap_set *set, pid_t real);
/* Whether the last step is not known as one: then nothing is known of debug registers. */
bool trap_is_lost(pid_t real);
/* The bits of the traps that lie in debug registers of a task. */
uint64_t trap_armed(const struct trap_set *set, pid_t task);
/* The bits of the traps of one kind. */
uint64_t trap_bits(const struct trap_set *set, enum trap_kind kind);
/* What an event writes is not met by a debug register, unless the agent writes it: then each output is met, also where it is what
   lay there. So these are noted, and beside them the places that are watched for writes: before the event (false: there are none),
   and which of them it has written, behind it. */
bool trap_note(struct trap_set *set, pid_t real);
void trap_note_output(struct trap_set *set, uint64_t address, size_t size);
uint64_t trap_written(const struct trap_set *set, pid_t real);
/* Counts the hits of a task that has run for so many ticks behind an event; whether it is to stop. */
bool trap_count(struct trap_set *set, pid_t task, pid_t real, uint64_t hit, uint64_t event, uint64_t ticks);
/* The int3 of a set, put into the memory of a task while it runs; and taken out again. */
void trap_put(struct trap_set *set, pid_t task, pid_t real);
void trap_take(struct trap_set *set, pid_t real);
/* The traps of a task that lie at an address that is executed. */
uint64_t trap_lies_at(const struct trap_set *set, pid_t task, pid_t real, uint64_t address);
/* Of these, those for which an int3 stands, or would stand, at an address. */
uint64_t trap_at(const struct trap_set *set, pid_t task, pid_t real, uint64_t address);

#endif
