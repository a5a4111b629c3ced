#define _GNU_SOURCE
#include "checkpoint.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

static void free_actors(struct actor *actors)
{
    struct replayer owner = {.actors = actors};
    while (owner.actors) replayer_forget(&owner, owner.actors->task);
}

/* The copy that one actor's copy is cloned from, with the flags for it: a thread of its process, a task in its memory,
   or, where no copy has either yet, the actor itself. */
static struct actor *origin_of(struct actor *actor, struct actor *actors, struct actor *copies, uint64_t *flags)
{
    struct actor *shares_memory = NULL;
    for (struct actor *other = actors, *copy = copies; copy; other = other->next, copy = copy->next) {
        if (other->real_group == actor->real_group) {
            *flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
            return copy;
        }
        if (other->brk == actor->brk) shares_memory = copy;
    }
    *flags = shares_memory ? CLONE_VM : 0;
    return shares_memory ? shares_memory : actor;
}

/* Cloning goes through the gate, which leaves other registers behind in the original and in the copy. */
static pid_t clone_with_state(struct actor *actor, struct actor *origin, uint64_t flags)
{
    static uint8_t xstate[XSTATE_BYTES];
    size_t size = sizeof xstate;
    struct user_regs_struct registers, of_origin;
    if (tracee_get_registers(actor->real, &registers) || tracee_get_registers(origin->real, &of_origin)) return -errno;
    if (tracee_get_xstate(actor->real, xstate, &size)) return -errno;
    pid_t real = replayer_clone(origin, flags);
    if (real < 0) return real;
    if (tracee_set_registers(origin->real, &of_origin) || tracee_set_registers(real, &registers) || tracee_set_xstate(real, xstate, size)) {
        int error = errno;
        if (!(flags & CLONE_THREAD)) replayer_kill(real);
        return -error;
    }
    return real;
}

static struct actor *copy_actor(struct actor *actor, struct actor *actors, struct actor *copies)
{
    uint64_t flags;
    struct actor *origin = origin_of(actor, actors, copies, &flags), *copy = calloc(1, sizeof *copy);
    uint64_t *brk = flags & CLONE_VM ? origin->brk : malloc(sizeof *brk);
    pid_t real = copy && brk ? clone_with_state(actor, origin, flags) : -ENOMEM;
    if (real < 0) {
        if (!(flags & CLONE_VM)) free(brk);
        free(copy);
        errno = -real;
        return NULL;
    }
    *copy = *actor;
    copy->dispatched = false; /* which the kernel does not pass on (copy_process, kernel/fork.c) */
    copy->armed = 0; /* nor debug registers (copy_thread, arch/x86/kernel/process.c) */
    copy->real = real;
    copy->real_group = flags & CLONE_THREAD ? origin->real_group : real;
    copy->brk = brk;
    copy->next = NULL;
    *brk = *actor->brk;
    return copy;
}

/* Copies in the order of the originals, so that the two lists run in parallel. False with errno set. */
static bool copy_actors(struct actor *actors, struct actor **copies)
{
    struct actor **end = copies;
    *copies = NULL;
    for (struct actor *actor = actors; actor; actor = actor->next, end = &(*end)->next)
        if (!(*end = copy_actor(actor, actors, *copies))) {
            int error = errno;
            free_actors(*copies);
            *copies = NULL;
            errno = error;
            return false;
        }
    return true;
}

static bool copy_files(struct range **to, size_t *to_count, const struct range *from, size_t count)
{
    struct range *files = realloc(*to, (count + 1) * sizeof *files);
    if (!files) return false;
    if (count) memcpy(files, from, count * sizeof *files);
    *to = files;
    *to_count = count;
    return true;
}

struct checkpoint *checkpoint_take(struct replayer *replayer)
{
    bool busy = false;
    for (struct actor *actor = replayer->actors; actor; actor = actor->next) busy |= actor->stop == STOP_DEAD;
    struct checkpoint *checkpoint = busy ? NULL : calloc(1, sizeof *checkpoint);
    if (!checkpoint) {
        errno = busy ? EBUSY : ENOMEM;
        return NULL;
    }
    checkpoint->position = replayer->position;
    checkpoint->due = replayer->due ? replayer->due->task : 0;
    checkpoint->due_ticks = replayer->due_ticks;
    if (copy_files(&checkpoint->files, &checkpoint->file_count, replayer->files, replayer->file_count) && copy_actors(replayer->actors, &checkpoint->actors))
        return checkpoint;
    int error = errno;
    checkpoint_free(checkpoint);
    errno = error;
    return NULL;
}

int checkpoint_restore(struct replayer *replayer, const struct checkpoint *checkpoint)
{
    while (replayer->actors) replayer_forget(replayer, replayer->actors->task);
    replayer->due = NULL;
    if (!copy_files(&replayer->files, &replayer->file_count, checkpoint->files, checkpoint->file_count)) return -ENOMEM;
    int error = replayer_skip(replayer, checkpoint->position);
    if (error) return error;
    if (!copy_actors(checkpoint->actors, &replayer->actors)) return -errno;
    if (checkpoint->due) replayer->due = replayer_find(replayer, checkpoint->due);
    replayer->due_ticks = checkpoint->due_ticks;
    return 0;
}

void checkpoint_free(struct checkpoint *checkpoint)
{
    free_actors(checkpoint->actors);
    free(checkpoint->files);
    free(checkpoint);
}

pid_t diversion_start(struct actor *actor) { return clone_with_state(actor, actor, 0); }

enum stop diversion_run(pid_t real, int *signal)
{
    int status;
    do {
        if (ptrace(PTRACE_SYSEMU, real, 0, 0) == -1 || !tracee_wait(real, &status)) return STOP_DEAD;
    } while (WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_STOP);
    if (!WIFSTOPPED(status)) return STOP_DEAD;
    *signal = WSTOPSIG(status);
    return *signal == (SIGTRAP | 0x80) ? STOP_CALL : STOP_FAULT;
}
