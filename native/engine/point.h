/* A point amid native code, where neither a call nor a tick tells where a task is: it is found again by the registers and the memory
   that the task has there. Where all of that is the same, so is what follows.

   In replay a task may come by such an instruction a million times before. So it is overwritten with a jump to code that compares
   the general registers, and what is near in memory, within the task; what is equal then is compared here. The jump is there only
   while the task runs, as an int3 of a trap is. It may overwrite instructions that follow, to which something might jump: the
   code lies where the displacement of the jump has an int3 at the beginning of each. Where there is no room for it, or the
   program has yet to write its code there, a debug register takes its place; where none is free, an int3, or the first write there.
   Code that the program can write is write-protected as long as the jump is there, and instructions that write there are executed
   without it. */
#ifndef PYRR_POINT_H
#define PYRR_POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "trap.h"
#include "wire.h"

struct actor;

/* Memory from `start` to `end`; `sparse` as in checksum.h. */
struct span {
    uint64_t start, end;
    bool sparse;
};

/* Instructions that make room for a jump and may be executed elsewhere: their bytes, their lengths, and where in them there is a
   displacement to the instruction pointer (0: none): of four bytes, or in those of two bytes, short branches, of one. Count 0: they
   may not; then the bytes are those of the first. */
enum { MOST_MOVED = 5, LONGEST_INSTRUCTION = 15 };
struct moved {
    const uint8_t *code;
    size_t size;
    uint64_t protection; /* of its memory, if that can be written; else 0 */
    unsigned count;
    struct {
        uint8_t length, displacement;
    } item[MOST_MOVED];
};

struct point {
    struct user_regs_struct registers;
    struct cursor kept; /* addresses and contents in turn, of some of its memory */
    bool keeps;         /* else it is an old one: a loop that comes back to its registers */
    const uint8_t *xstate;
    size_t xstate_size; /* 0: not compared, nor is all memory */
    struct cursor memory, excluded; /* starts, ends, whether sparse, hashes in turn; starts and ends of what is not looked at */
    struct moved moved;
};

/* Behind the number of ticks of a TICK event, of `items` items. False: it is none of such a place, or damaged. */
bool read_point(struct cursor *cursor, size_t items, struct point *point);
/* Whether a stopped task is there, by all that is known of it. */
bool is_at_point(pid_t tid, const struct user_regs_struct *registers, const struct point *point);
/* Whether memory is not as it was recorded, addresses and contents in turn: at which address first. The cursor is bad where that
   cannot be read. */
bool has_changed(pid_t tid, struct cursor *cursor, uint64_t *address);
/* One number for a span of memory, but for pages that are excluded in part; what is zero counts as if it were not there. */
uint64_t hash_span(pid_t tid, const struct span *span, const struct iovec *excluded, size_t count);
/* Whether extended states are the same, but for what is no function of what has been executed. */
bool is_same_xstate(const uint8_t *one, const uint8_t *other, size_t size);

struct detour {
    uint64_t address; /* of the instruction; 0: there is no detour */
    const struct point *point;
    bool near, moves; /* detour_begin */
    uint64_t page;   /* with the code; 0: there is none */
    bool armed;      /* a debug register is set */
    bool protected;  /* the memory of the code is */
    bool written;    /* the next instruction writes there */
    unsigned entry, compare, hit, miss, back; /* offsets in the page */
    unsigned within[MOST_MOVED], moved[MOST_MOVED]; /* where its instructions begin, before and after they were moved */
    uint8_t patch[5], original[5];
    size_t put;      /* so many bytes of the program's code are overwritten, while it runs */
    bool passes;     /* goes on behind the comparison */
};

/* A detour for a task; `near`: what is near in memory is compared there, too. Without `moves` nothing is moved. */
void detour_begin(struct detour *detour, const struct point *point, bool near, bool moves);
void detour_end(struct detour *detour, struct actor *actor);
/* Before a task is made to step: without a detour. */
void detour_leave(struct detour *detour, struct actor *actor);
/* Before the task runs: false where that takes a debug register and none is free. Behind it, with registers as they are without:
   whether it stands at the place, equal as far as was compared, or has met a page that is not there. */
bool detour_put(struct detour *detour, struct actor *actor, const struct trap_set *traps);
bool detour_take(struct detour *detour, struct actor *actor, int status, const struct trap_set *traps);

#endif
