/* An address space of tracees: the agent in it, the code whose system call sites are known, and those that are patched. */
#ifndef PYRR_SPACE_H
#define PYRR_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "../agent/agent.h"
#include "wire.h"

enum { STUB_BYTES = 64, STUB_AREA_BYTES = 0x10000, STUB_AREAS = 2, STUBS = STUB_AREA_BYTES / STUB_BYTES };

/* The agent's code, as it is built (native/agent). */
struct agent_image {
    const uint8_t *data;
    size_t size;
    struct agent_places places;
};

/* A system call instruction that may be patched, as recorder/sites.py judges it: `before` and `after` are the bytes of the
   instructions that are moved with it, `bytes` all of them. */
struct site {
    uint32_t offset; /* of the instruction, from the start of the mapping */
    uint8_t before, after;
    uint8_t bytes[17];
    uint8_t used; /* a call has come from it, in this recording or an earlier one */
};

_Static_assert(sizeof(struct site) == 24, "recorder/sites.py packs it");

/* Where going is a tick, as pyrr_debugger/clock packs it, relative to a mapping: a word that holds the address `target`; a word
   of four bytes that counts to `target` from the beginning of its table; or a function whose beginning is moved. */
struct place {
    int64_t place, target;
    uint8_t size;         /* of what is moved; 0: a word; DISTANCE_BYTES: the other kind, and that is in `bytes` */
    uint8_t displacement; /* where the moved bytes have four that count from their end; 0: nowhere */
    uint8_t bytes[14];
};

enum { DISTANCE_BYTES = 4 };

_Static_assert(sizeof(struct place) == 32, "pyrr_debugger/clock/__init__.py packs it");

/* Places that do not tick yet: ld.so has not written their words. */
struct pending {
    uint64_t start, end; /* of the mapping that they are relative to */
    struct place *places;
    size_t count;
    unsigned looks; /* in vain */
    struct pending *next;
};

/* The sites of a piece of a file, wherever it is mapped. */
struct sites {
    size_t count;
    struct site item[]; /* by rising offset */
};

struct code {
    uint64_t start, end;
    struct sites *sites; /* NULL: none; they outlive the space */
    bool fresh;          /* those that are used have not been patched yet */
};

/* A patched site. `site` is the address behind the instruction, as events have it. */
struct patched {
    uint64_t site, start, end;
    uint64_t after; /* in the stub */
    uint8_t bytes[18]; /* that stood there */
    uint64_t table; /* from which a distance counts that stands there instead of a jump; 0: a jump does */
};

/* Stubs lie near the code that jumps to them: below the program and below ld.so. */
struct stub_area {
    uint64_t start;
    size_t count;
    struct patched patched[STUBS];
};

struct space {
    unsigned users;
    bool agent;    /* is there */
    bool dispatch; /* its tasks run free: what is no call of the agent's is sent to the tracer (SYS_USER_DISPATCH) */
    struct code *code;
    size_t code_count;
    bool code_changed; /* since the agent was told */
    struct stub_area *areas[STUB_AREAS];
    struct agent_account account; /* what of the ring has been taken over */
    uint64_t chunk;               /* number of the first event of the chunk that the ring goes into, and ... */
    size_t joins_at;              /* ... where in it, if nothing else has come between */
    pid_t told;                   /* the task whose account it is: the last one that ran in it */
    struct agent_clock clock; /* as it was at the last stop */
    size_t ticks;             /* trampolines: 0 where nothing counts */
    bool has_ticked;          /* it is a clock indeed */
    struct pending *pending;
};

bool agent_image_read(struct agent_image *image, const uint8_t *data, size_t size);
/* A task that a bad pointer of the program's has stopped in the agent goes on behind that. False: it is no such task. */
bool leave_copy(const struct agent_image *image, struct user_regs_struct *registers);

struct space *new_space(const struct space *like);
void release_space(struct space *space);

/* Puts the agent into a stopped task's memory, with room for stubs at `near` (0: none) and below its libraries. Zero, or a
   negative error; the task may then be dead. */
int space_install(struct space *space, pid_t tid, const struct agent_image *image, uint64_t near);
/* Has the kernel send a stopped task's calls to the tracer, or no more. The agent must be there. */
bool space_dispatch(pid_t tid, const struct agent_image *image, bool on);
/* The same with any range of addresses behind the instructions whose calls the kernel takes; 0, 0: of all. */
bool dispatch_calls(pid_t tid, uint64_t first, uint64_t last);
/* Code has been mapped, with these sites; what lay there before is forgotten. False: no memory. */
bool space_add_code(struct space *space, uint64_t start, uint64_t end, struct sites *sites);
/* The site of a task that stands behind a system call instruction at `address`. */
uint64_t space_site(const struct space *space, uint64_t address);
/* The stub that stands for the instructions at `address`, moved there; `address` itself where nothing is patched. */
uint64_t space_moved(const struct space *space, uint64_t address);
/* The opposite, of an address in a stub, from its call on. */
uint64_t space_unmoved(const struct space *space, uint64_t address);
const struct patched *space_patched(const struct space *space, uint64_t site);
/* Takes over the places of a mapping that are to tick as soon as they are complete. False: no memory. */
bool space_add_places(struct space *space, uint64_t start, uint64_t end, const struct place *places, size_t count);
/* Has those tick that are complete: writes and appends as space_patch does. The number of pairs. */
size_t space_patch_places(struct space *space, pid_t tid, struct buffer *outputs);
/* Whether a task that a trap has stopped stands in a trampoline. */
bool is_at_tick(pid_t tid);
/* Such a task goes on where that leads to: it has its own registers then. False: it is no such task. */
bool leave_trampoline(pid_t tid, struct user_regs_struct *registers);
/* Patches a site that is known: writes to `memory` (tracee_open_memory), and appends what it wrote to `outputs` as msgpack
   (address, bytes) pairs. The number of pairs: 0 when it is not to be patched. */
size_t space_patch(struct space *space, int memory, uint64_t site, struct buffer *outputs);
/* Puts back what stood at all patched sites. The stubs stay. */
void space_unpatch(struct space *space, pid_t tid);

#endif
