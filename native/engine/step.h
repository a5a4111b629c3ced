/* Single steps of a replayed program, as the program has them: what has been moved into the stub of a patched site, and the
   way through the agent, are not seen. An address of the program is where its instruction was before the patch. */
#ifndef PYRR_STEP_H
#define PYRR_STEP_H

#include "replayer.h"

/* Where the instruction at an address of the program is executed: in a stub, if its site is patched. */
uint64_t executed_at(pid_t real, uint64_t address);
/* The inverse: the address of the program that an instruction pointer stands for. */
uint64_t shown_at(pid_t real, uint64_t rip);
/* The bytes of the program from `address` on, without patches. */
void unpatch(pid_t real, uint64_t address, uint8_t *data, size_t size);

/* Makes `limit` steps of the task that is due, or fewer: to a trap, or to its next stop (OUTCOME_POSITION, not counted).
   OUTCOME_CHUNK where the next event must be known. */
enum outcome replayer_step(struct replayer *replayer, uint64_t limit, uint64_t *done);

/* For replayer.c. One step of an actor that is amid its run; false where it has come to its next stop instead. */
bool step_actor(struct replayer *replayer, struct actor *actor, uint64_t *hit);
/* Whether an instruction pointer is in code that is no part of the program. */
bool in_agent(uint64_t rip);
/* From within the agent to behind the call that it has made. False where it makes none (STOP_TRAP), or has stopped otherwise. */
bool step_out_of_agent(struct replayer *replayer, struct actor *actor);

#endif
