/* Checkpoints: copies of all replayed processes, from which replay can go on as often as one likes. A copy costs what a
   fork costs; the kernel shares its pages until one side writes. What several processes share by mapping is not copied
   here: Python keeps the content of such memory beside the checkpoint. */
#ifndef PYRR_CHECKPOINT_H
#define PYRR_CHECKPOINT_H

#include "replayer.h"

struct checkpoint {
    struct actor *actors;
    uint64_t position;
    pid_t due; /* the task that stands amid its run; 0: none */
    uint64_t due_ticks;
    struct range *files;
    size_t file_count;
};

/* Copies all actors, which stay as they are. NULL with errno set: EBUSY where one is dead. */
struct checkpoint *checkpoint_take(struct replayer *replayer);
/* Replaces the actors by copies of those of the checkpoint, which is kept. The chunk of its position must be loaded.
   0, or -errno: then there may be no actors. */
int checkpoint_restore(struct replayer *replayer, const struct checkpoint *checkpoint);
void checkpoint_free(struct checkpoint *checkpoint);

/* A clone of one actor, alone in its process, to be run and thrown away: it is nobody's actor. -errno on failure. */
pid_t diversion_start(struct actor *actor);
/* Runs a clone to its next system call, which is not made, or to a fault; *signal is that of the fault. */
enum stop diversion_run(pid_t real, int *signal);

#endif
