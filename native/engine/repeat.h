/* Memory calls, carried out once more in replay: by the replayer through the gate, or by the agent. */
#ifndef PYRR_REPEAT_H
#define PYRR_REPEAT_H

#include "event.h"

typedef int64_t (*call_maker)(void *maker, uint64_t number, const uint64_t arguments[6]);

/* Whether a memory call leaves alone what lies from `start` to `end`. */
bool spares(uint64_t number, const uint64_t arguments[6], uint64_t start, uint64_t end);
int64_t map_again(uint64_t address, const uint64_t arguments[6], call_maker make, void *maker);
/* Repeats mmap (of anonymous memory), munmap, mprotect, mremap or madvise at the recorded address. False: the result is another;
   true of any other call, which is not repeated. */
bool repeat_call(const struct call *call, call_maker make, void *maker);

#endif
