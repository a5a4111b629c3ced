/* Recording that begins amid a program: its tasks stand still, as `pyrr resume --record` has rebuilt them, and are taken over. They have
   no agent, since what the recorder would have to know of it (which sites are patched, what ticks) is gone: all of their calls are
   traced, until they execute another program. */
#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ptrace.h>

/* A new group, in an address space of its own or that of `like`. */
static struct group *adopt_group(pid_t process, const struct task *like)
{
    struct group *group = new_group(process, NULL);
    if (!group) return NULL;
    group->space = like ? like->group->space : new_space(NULL);
    if (like) group->space->users++;
    if (group->space) return group;
    free(group);
    return NULL;
}

/* What the program believes is what it has been given; it runs where its tracer does. */
static void adopt_affinity(struct task *task)
{
    cpu_set_t own;
    CPU_ZERO(&own);
    if (sched_getaffinity(task->turn.tid, sizeof task->affinity, &task->affinity)) return;
    if (sched_getaffinity(0, sizeof own, &own) == 0) sched_setaffinity(task->turn.tid, sizeof own, &own);
}

int recorder_adopt(struct recorder *recorder, const struct adoption *adoption)
{
    struct task *of_process = recorder_find(recorder, task_of(recorder, adoption->process));
    struct task *of_memory = recorder_find(recorder, adoption->memory_of);
    if (ptrace(PTRACE_SETOPTIONS, adoption->tid, 0, PTRACE_OPTIONS) == -1) return errno;
    struct task *task = add_task(recorder, adoption->tid);
    if (!task) return ENOMEM;
    struct group *group = of_process ? of_process->group : adopt_group(adoption->process, of_memory);
    struct descriptors *descriptors = of_process ? of_process->descriptors : new_descriptors(NULL);
    if (!group || !descriptors) return ENOMEM;
    if (of_process) descriptors->users++;
    join_group(task, group);
    task->descriptors = descriptors;
    if (!of_process) find_streams(recorder, task);
    group->filtered |= adoption->filtered;
    group->undumpable |= adoption->undumpable;
    task->clear_child_tid = adoption->clear_child_tid;
    task->robust_list = adoption->robust_list;
    task->preempted = adoption->continues;
    task->started = true;
    task->turn.state = TASK_READY;
    note_mask(task);
    adopt_affinity(task);
    if (!recorder->root) recorder->root = adoption->process;
    return tracee_get_registers(adoption->tid, &task->exit) ? errno : 0;
}

bool recorder_adopt_action(struct recorder *recorder, pid_t process, int signal, const struct kernel_sigaction *action)
{
    struct task *task = recorder_find(recorder, task_of(recorder, process));
    if (!task || signal < 1 || signal >= SIGNALS) return false;
    note_action(task->group, signal, action);
    return true;
}

void recorder_go_on(struct recorder *recorder, uint64_t position, uint64_t time)
{
    struct timespec now;
    read_clock(&now);
    uint64_t start = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - time * 1000;
    recorder->start = (struct timespec){(time_t)(start / 1000000000u), (long)(start % 1000000000u)};
    recorder->last_time = time;
    recorder->event_count = recorder->flushed_count = position;
    recorder->next_checksum = position + recorder->checksum_every;
}
