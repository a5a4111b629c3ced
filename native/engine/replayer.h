/* The replaying loop: each task runs from one recorded event to the next, and every event is checked before it is
   fed. Nothing that the replayed program asks for is executed, but memory management through the stub's gate. What
   needs Python (files, new processes, snapshots, exits) is returned as an outcome. */
#ifndef PYRR_REPLAYER_H
#define PYRR_REPLAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "event.h"
#include "point.h"
#include "space.h"
#include "tracee.h"
#include "trap.h"
#include "wire.h"

enum stop {
    STOP_NONE,  /* behind its last event: not yet run on */
    STOP_CALL,  /* at the entry of a system call */
    STOP_FAULT, /* at a signal of its own making */
    STOP_TICK,  /* at the tick that it was to stop at */
    STOP_DEAD,
    STOP_TRAP,  /* at a trap, amid the run to its next stop */
    STOP_LOST,  /* at a debug exception, but whether at a trap, and at which, the processor does not say */
    STOP_POINT, /* at a place amid native code that it was to stop at */
    STOPS,
};

struct actor {
    pid_t task; /* as recorded */
    pid_t real, real_group;
    enum stop stop;
    int signal;
    uint64_t arrival; /* number of the next event when it came to its stop */
    bool restarted; /* its last result asked for a restart: it is still in that call */
    struct user_regs_struct registers; /* at the stop */
    uint64_t *brk;                     /* of its address space */
    bool agent;                        /* is in it */
    bool dispatched;                   /* stops at calls by Syscall User Dispatch, not by PTRACE_SYSEMU */
    uint64_t armed;                    /* generation of the traps in its debug registers */
    uint64_t missing, kept;            /* a page that is away until the task uses it, and where; 0: none */
    bool met;                          /* the execute traps that lie where it stands, amid its run, have been counted */
    struct actor *next;
};

enum outcome {
    OUTCOME_POSITION, /* before event `until` */
    OUTCOME_CHUNK,    /* all events of the chunk are consumed */
    OUTCOME_POLICY,   /* this event is Python's */
    OUTCOME_DIVERGENCE,
    OUTCOME_TRAP,     /* `due` stands at a trap: it has not come to event `position` yet */
    OUTCOME_INTERRUPTED,
    OUTCOME_FAILED,
};

struct range {
    uint64_t start, end;
};

struct replayer {
    struct actor *actors;
    struct actor template; /* an empty process, to be cloned */
    struct actor *due; /* has consumed an event and must run on before the next one */
    uint64_t due_ticks; /* ticks behind that event that it has run already */
    struct actor *noted; /* whose watched memory was looked at before the event */
    struct cursor cursor;
    const uint8_t *chunk; /* in which it is: the beginning */
    uint64_t position; /* number of the next event */
    uint64_t chunk_end;
    struct agent_image agent;
    uint64_t batch; /* how many events are offered at once */
    int shared; /* the file in which all shared memory lies; every stub holds it */
    int streams[3]; /* where stdout and stderr of the program go; -1: nowhere */
    int output_error; /* errno of a write there that failed */
    struct range *files; /* where recorded file mappings lie: madvise and mremap there are Python's */
    size_t file_count;
    struct trap_set traps;
    size_t offered; /* events in the ring of the task that runs */
    struct detour detour; /* of the task that runs to a place */
    bool looked;    /* it has met that */
    char reason[256]; /* of a divergence */
};

/* Ends and reaps all its processes. */
void replayer_end(struct replayer *replayer);
void replayer_free(struct replayer *replayer);
struct actor *replayer_find(struct replayer *replayer, pid_t task);
/* A new empty process standing for `task`; -errno on failure. */
int replayer_start(struct replayer *replayer, pid_t task, const char *stub);
/* Clones the real task of `parent` for `task`. -errno on failure. */
int replayer_spawn(struct replayer *replayer, pid_t parent, pid_t task, uint64_t flags);
/* Ends the real task of `task`; of the whole process if it is its last one. */
void replayer_forget(struct replayer *replayer, pid_t task);
/* A clone of a stopped stub or actor: its id, stopped before it has run, or -errno. */
pid_t replayer_clone(struct actor *actor, uint64_t flags);
/* Ends a real process and reaps all its tasks. */
void replayer_kill(pid_t real);
int64_t replayer_inject(struct actor *actor, uint64_t number, const uint64_t arguments[6]);
/* Whether what a call has written to stdout or stderr is to be shown. */
bool is_shown(const struct replayer *replayer, const struct call *call);
enum { TO_NEXT_STOP = -1 };
/* Runs to before event `until`, and not TO_NEXT_STOP but only `ticks` ticks behind the event before it. */
enum outcome replayer_run(struct replayer *replayer, uint64_t until, int64_t ticks);
/* Readies a task that is to run: how it stops at calls, and its traps. */
void replayer_prepare(struct replayer *replayer, struct actor *actor);
/* Where a task is to stop that runs on, if its next stop does not come first: at tick `ticks` behind its last event (0: at none);
   `pointed`: at a place behind that. */
struct way {
    uint64_t ticks;
    bool pointed;
    struct point point;
};
/* Lets a task run to its next stop: at a system call, of which none is made but through the gate, at a fault, or where its way
   ends; or to a trap on its way there. */
void replayer_run_on(struct replayer *replayer, struct actor *actor, const struct way *way);
/* Whether a task that is due is to run on before the next event, and how. */
bool replayer_runs_on(const struct replayer *replayer, const struct actor *actor, struct way *way);
/* Whether a task whose registers are known is at a place. */
bool replayer_has_come(struct actor *actor, const struct point *point);
/* A task that is to stop at tick `ticks` behind its last event, or at none (0). */
void replayer_wind(const struct replayer *replayer, const struct actor *actor, uint64_t ticks);
/* How many ticks of the bytecode clock a stopped task has run behind its last event; 0 without the agent. */
uint64_t ticks_behind(const struct actor *actor);
/* Behind a stop amid its way: what is copied of it is not to stop by itself. */
void note_ticks(struct replayer *replayer, const struct actor *actor);
/* The same for a task that comes there by its next instruction. */
void replayer_run_to_stop(struct replayer *replayer, struct actor *actor);
/* The traps whose memory the event has written that has just taken effect. */
uint64_t replayer_written(struct replayer *replayer, const struct actor *actor);
/* Why a task has stopped; STOP_NONE: of a signal that somebody sent, where replay knows only those of the recording. */
enum stop replayer_stop_of(const struct actor *actor, int status);
/* Consumes the current event after policy has dealt with it. `due` may be NULL. */
void replayer_advance(struct replayer *replayer, struct actor *due);
/* Goes to a later event of the loaded chunk, where a checkpoint stands: nothing is replayed, and nobody is due. 0, or -errno. */
int replayer_skip(struct replayer *replayer, uint64_t position);
/* Whether a recorded file mapping lies there: madvise and mremap are Python's then. */
bool replayer_has_file(const struct replayer *replayer, uint64_t start, uint64_t size);
/* Whether the next event, if it is the task's, found it right behind its last one. */
bool waits_behind(struct cursor cursor, pid_t task);
/* As recorded: gives the actor's pending call its result, which policy has carried out. */
bool replayer_answer(struct actor *actor, int64_t result);

#endif
