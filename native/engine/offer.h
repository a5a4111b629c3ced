/* The replayer's side of the agent: events that a task may take from its ring without a stop. */
#ifndef PYRR_OFFER_H
#define PYRR_OFFER_H

#include "replayer.h"

/* Puts the agent into an actor's memory, once its image is restored. */
bool install_agent(struct actor *actor, const struct agent_image *image);
/* Has an actor stop at every call but through the gates. Linux 6.4. */
bool dispatch_actor(const struct actor *actor);
/* The site that a stub's system call at `address` (the end of the instruction) stands for; `address` itself elsewhere. */
uint64_t stub_site(const struct actor *actor, uint64_t address);
/* A call whose outputs patch its own site returns to the stub. */
void follow_patch(struct actor *actor, struct cursor outputs);
/* Where the agent has met a bad pointer it goes on and leaves the call to the replayer. */
bool recover_replayed_copy(struct actor *actor, const struct agent_image *image);
/* Offers the next events before `until`, as far as they are one after the other this task's; their number. */
size_t offer(struct replayer *replayer, struct actor *actor, uint64_t until);
/* After the task has stopped: moves the replayer behind the events that it has taken. False: the agent's account is wrong. */
bool take_back(struct replayer *replayer, const struct actor *actor, size_t offered);

#endif
