#define _GNU_SOURCE
#include "recording.h"

#include <linux/futex.h>
#include <linux/sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Since Linux 5.9; not in older headers. */
enum { CLOSE_RANGE_UNSHARE_ = 2, CLOSE_RANGE_CLOEXEC_ = 4 };

struct descriptors *new_descriptors(const struct descriptors *like)
{
    struct descriptors *descriptors = calloc(1, sizeof *descriptors);
    if (!descriptors) return NULL;
    if (like) *descriptors = *like;
    descriptors->users = 1;
    return descriptors;
}

void release_descriptors(struct descriptors *descriptors)
{
    if (descriptors && --descriptors->users == 0) free(descriptors);
}

/* Gives a task a table of its own, as unshare(CLONE_FILES) and execve do. */
static void unshare_descriptors(struct task *task)
{
    struct descriptors *own = task->descriptors->users > 1 ? new_descriptors(task->descriptors) : NULL;
    if (!own) return;
    release_descriptors(task->descriptors);
    task->descriptors = own;
}

static bool stat_descriptor(pid_t pid, int64_t descriptor, struct stat *status)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, (int)descriptor);
    return stat(path, status) == 0;
}

/* A name like /dev/stdout opens the same file once more. */
static uint8_t opened_stream(const struct recorder *recorder, const struct task *task, int64_t descriptor)
{
    struct stat status;
    if (!stat_descriptor(task->turn.tid, descriptor, &status)) return 0;
    for (uint8_t i = 1; i < 3; i++)
        if (recorder->own_stream[i].inode == status.st_ino && recorder->own_stream[i].device == status.st_dev) return i;
    return 0;
}

bool recorder_watch(struct recorder *recorder, dev_t device, ino_t inode)
{
    struct file_identity *watched = realloc(recorder->watched, (recorder->watched_count + 1) * sizeof *watched);
    if (!watched) return false;
    recorder->watched = watched;
    watched[recorder->watched_count++] = (struct file_identity){device, inode};
    return true;
}

/* What is written to /proc/PID/mem changes memory. */
void watch_memory_file(struct recorder *recorder, const struct task *task, int64_t result)
{
    static const char name[] = "mem";
    struct stat status;
    if (task->row->effect != EFFECT_OPEN || result < 0 || task->inputs.size < sizeof name) return;
    if (memcmp(task->inputs.data + task->inputs.size - sizeof name, name, sizeof name) != 0) return;
    char path[48], target[64] = "";
    snprintf(path, sizeof path, "/proc/%d/fd/%d", task->turn.tid, (int)result);
    if (readlink(path, target, sizeof target - 1) > 0 && strncmp(target, "/proc/", 6) == 0 && stat(path, &status) == 0)
        recorder_watch(recorder, status.st_dev, status.st_ino);
}

void follow_streams(const struct recorder *recorder, struct task *task, int64_t result)
{
    const struct syscall_row *row = task->row;
    const uint64_t *arguments = task->arguments;
    bool unshares = task->entry.orig_rax == SYS_unshare && arguments[0] & CLONE_FILES;
    if (row->effect == EFFECT_CLOSE_RANGE && arguments[2] & CLOSE_RANGE_UNSHARE_) unshares = true;
    if (unshares && result == 0) unshare_descriptors(task);
    uint8_t *stream = task->descriptors->stream;
    uint64_t from = arguments[0], to = arguments[1];
    uint8_t source = from < STREAM_DESCRIPTORS ? stream[from] : 0;
    switch (row->effect) {
    case EFFECT_OPEN:
        if (result >= 0 && result < STREAM_DESCRIPTORS) stream[result] = opened_stream(recorder, task, result);
        break;
    case EFFECT_DUP:
        if (result >= 0 && result < STREAM_DESCRIPTORS) stream[result] = source;
        break;
    case EFFECT_DUP_TO:
        if (result >= 0 && to < STREAM_DESCRIPTORS) stream[to] = source;
        break;
    case EFFECT_CLOSE:
        if (from < STREAM_DESCRIPTORS) stream[from] = 0;
        break;
    case EFFECT_CLOSE_RANGE:
        if (result == 0 && !(arguments[2] & CLOSE_RANGE_CLOEXEC_))
            for (uint64_t i = from; i <= to && i < STREAM_DESCRIPTORS; i++) stream[i] = 0;
        break;
    default: break;
    }
}

/* After exec the descriptors marked close-on-exec are gone; what is left is known by the kernel's open file. */
void check_streams(struct task *task)
{
    unshare_descriptors(task);
    for (unsigned i = 0; i < STREAM_DESCRIPTORS; i++) {
        char path[48];
        struct stat ignored;
        snprintf(path, sizeof path, "/proc/%d/fd/%u", task->turn.tid, i);
        if (task->descriptors->stream[i] && lstat(path, &ignored)) task->descriptors->stream[i] = 0;
    }
}

void find_streams(const struct recorder *recorder, struct task *task)
{
    const struct file_identity *errors = &recorder->own_stream[2];
    struct stat status;
    for (unsigned i = 0; i < STREAM_DESCRIPTORS; i++) task->descriptors->stream[i] = opened_stream(recorder, task, i);
    /* On a terminal both are one file. */
    bool own = stat_descriptor(task->turn.tid, 2, &status) && errors->inode == status.st_ino && errors->device == status.st_dev;
    if (own) task->descriptors->stream[2] = 2;
}

unsigned stream_of(const struct task *task, int64_t result)
{
    if (!task->row || task->row->effect != EFFECT_WRITE || result <= 0) return 0;
    uint64_t descriptor = task->arguments[task->row->effect_arg];
    return descriptor < STREAM_DESCRIPTORS ? task->descriptors->stream[descriptor] : 0;
}

bool is_watched(const struct recorder *recorder, const struct task *task)
{
    struct stat status;
    if (!stat_descriptor(task->turn.tid, (int64_t)task->arguments[task->row->effect_arg], &status)) return false;
    for (size_t i = 0; i < recorder->watched_count; i++)
        if (recorder->watched[i].device == status.st_dev && recorder->watched[i].inode == status.st_ino) return true;
    return false;
}
