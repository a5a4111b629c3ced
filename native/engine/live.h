/* Going live: processes without a filter, in which Python rebuilds a replayed program, and which then run on their own.

   Each begins as a *seed* (native/stub/seed.S), or as a clone of one. All of its calls are made in it, by injection at the
   seed's own syscall instruction, so that every kernel object is its own. It holds authority from its first instruction: it has
   that of whoever starts it. */
#ifndef PYRR_LIVE_H
#define PYRR_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../stub/gate.h"

/* Memory in a seed for what its calls are given. */
#define LIVE_ARGUMENTS (GATE_PAGE + GATE_BYTES)
#define LIVE_ARGUMENTS_BYTES UINT64_C(0xf000)

/* A stopped seed with nothing mapped but its page and that memory, child of this process, with the id `wanted` unless that is 0. It inherits all descriptors that are not closed
   on exec. Its id, or -errno: EEXIST and EPERM if it cannot have that id. */
pid_t live_start(const char *seed, pid_t wanted);
/* Has all processes that we start from now on live in a namespace of process ids of their own, where all but 1 are free. The id of its first process, which sees to
   those whose parents have ended, and in whose mount namespace /proc shows these ids; or -errno. It waits to read from `gate`, a pipe's end
   for us to write to, which process must have ended (a pid_t, the id in there) for it to end, when all others have too. */
pid_t live_own_ids(const char *seed, int *gate);
/* Waits until a task that a seed has cloned can be called. False: it is gone. */
bool live_wait(pid_t tid);
/* A system call of a stopped task: at the seed's instruction, or, with `here`, where the task stands. Its result; *dead as in
   tracee_inject. */
int64_t live_call(pid_t tid, bool here, uint64_t number, const uint64_t arguments[6], bool *dead);
/* clone3(2) likewise; `born` is the new task's id here. */
int64_t live_clone(pid_t tid, uint64_t arguments, uint64_t size, pid_t *born, bool *dead);
/* Lets a task run freely until it traps or gets a signal: the signal, 0 if it has ended. */
int live_run(pid_t tid);
/* Copies memory of one stopped process into another one, but for pages that are zero. False: not all of it could be. */
bool live_copy(pid_t from, pid_t to, uint64_t start, uint64_t end);
/* Lets a task go on untraced. */
bool live_release(pid_t tid);

#endif
