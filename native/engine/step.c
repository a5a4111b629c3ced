#define _GNU_SOURCE
#include "step.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "../agent/agent.h"
#include "../stub/gate.h"
#include "instruction.h"
#include "offer.h"
#include "transfer.h"

#define PTRACE_SYSEMU_SINGLESTEP_ 32

enum { LONGEST_REGION = 18, PUSH_FLAGS = 0x9c, POP_FLAGS = 0x9d, OPERAND_SIZE = 0x66 };

/* What popf changes with the privilege of a program: CF PF AF ZF SF TF DF OF, NT AC ID (Intel SDM 2, POPF). */
enum { POPPED_FLAGS = 0x0fd5 & ~0x200, POPPED_WHOLE = POPPED_FLAGS | 0x244000 };

/* A patched site and its stub (agent.h). */
struct region {
    uint64_t start, site, end; /* in the program; `site` is behind the call */
    uint64_t stub, way, after; /* in the stub: its start, the way to the agent, what is behind the call */
    uint8_t bytes[LONGEST_REGION];
};

static const uint8_t way_start[] = {0x48, 0x8d, 0x0d, 23, 0, 0, 0, 0x49, 0xbb};
static const uint8_t way_end[] = {0x41, 0xff, 0xe3};

static bool is_way(const uint8_t *code)
{
    const uint64_t entry = AGENT_TEXT;
    return memcmp(code, way_start, sizeof way_start) == 0 && memcmp(code + sizeof way_start, &entry, sizeof entry) == 0 &&
           memcmp(code + sizeof way_start + sizeof entry, way_end, sizeof way_end) == 0;
}

static uint64_t target_of(const uint8_t *jump, uint64_t address)
{
    int32_t distance;
    memcpy(&distance, jump + 1, sizeof distance);
    return address + JUMP_BYTES + (uint64_t)(int64_t)distance;
}

static bool read_stub(pid_t real, uint64_t stub, struct region *region)
{
    uint8_t code[STUB_BYTES];
    if (stub % STUB_BYTES || tracee_read(real, stub, code, sizeof code) != sizeof code) return false;
    for (unsigned before = 0; before + STUB_AFTER + JUMP_BYTES <= sizeof code; before++) {
        if (!is_way(code + before)) continue;
        const uint8_t *after = code + before + STUB_AFTER;
        memcpy(&region->site, after - STUB_SITE, sizeof region->site);
        for (unsigned size = 0; after + size + JUMP_BYTES <= code + sizeof code; size++) {
            if (after[size] != JUMP || target_of(after + size, stub + before + STUB_AFTER + size) != region->site + size) continue;
            region->start = region->site - SYSCALL_INSTRUCTION_BYTES - before;
            region->end = region->site + size;
            region->stub = stub;
            region->way = stub + before;
            region->after = region->way + STUB_AFTER;
            if (region->end - region->start > sizeof region->bytes) return false;
            memcpy(region->bytes, code, before);
            memcpy(region->bytes + before, after - SYSCALL_INSTRUCTION_BYTES, SYSCALL_INSTRUCTION_BYTES + size);
            return true;
        }
        return false;
    }
    return false;
}

/* The site whose bytes have been overwritten there. */
static bool region_around(pid_t real, uint64_t address, struct region *region)
{
    uint8_t code[LONGEST_REGION + JUMP_BYTES];
    uint64_t first = address - LONGEST_REGION + 1;
    size_t size = tracee_read(real, first, code, sizeof code);
    if (!size) {
        uint64_t page = address & ~(uint64_t)(PAGE_BYTES - 1);
        if (page <= first) return false;
        first = page;
        size = tracee_read(real, first, code, address + JUMP_BYTES - first);
    }
    for (size_t i = 0; i + JUMP_BYTES <= size && first + i <= address; i++)
        if (code[i] == JUMP && read_stub(real, target_of(code + i, first + i), region) && region->start == first + i && address < region->end) return true;
    return false;
}

uint64_t executed_at(pid_t real, uint64_t address)
{
    struct region region;
    if (!region_around(real, address, &region) || address == region.start) return address;
    if (address >= region.site) return region.after + (address - region.site);
    return address <= region.site - SYSCALL_INSTRUCTION_BYTES ? region.stub + (address - region.start) : address;
}

static uint64_t shown_in(const struct region *region, uint64_t rip)
{
    if (rip < region->way) return region->start + (rip - region->stub);
    if (rip < region->after) return region->site - SYSCALL_INSTRUCTION_BYTES;
    uint64_t shown = region->site + (rip - region->after);
    return shown < region->end ? shown : region->end;
}

uint64_t shown_at(pid_t real, uint64_t rip)
{
    struct region region;
    return read_stub(real, rip / STUB_BYTES * STUB_BYTES, &region) ? shown_in(&region, rip) : rip;
}

void unpatch(pid_t real, uint64_t address, uint8_t *data, size_t size)
{
    struct region region;
    /* A jump that begins before the data may reach into it. */
    if (size && region_around(real, address, &region))
        for (uint64_t at = address; at < region.end && at < address + size; at++) data[at - address] = region.bytes[at - region.start];
    for (size_t i = 0; i + JUMP_BYTES <= size; i++) {
        uint64_t target = target_of(data + i, address + i);
        if (data[i] != JUMP || target % STUB_BYTES || !read_stub(real, target, &region) || region.start != address + i) continue;
        for (uint64_t at = address + i; at < region.end && at < address + size; at++) data[at - address] = region.bytes[at - region.start];
    }
}

bool in_agent(uint64_t rip) { return (rip >= AGENT_TEXT && rip < AGENT_END) || (rip >= GATE_PAGE && rip < GATE_PAGE + GATE_BYTES); }

/* The length of an instruction with this opcode and no operands; 0 if it is none. */
static size_t length_if(uint8_t opcode, const uint8_t *code, size_t size, bool *small)
{
    size_t at = 0;
    *small = false;
    for (; at < size && (code[at] == OPERAND_SIZE || (code[at] & 0xf0) == 0x40); at++) *small |= code[at] == OPERAND_SIZE;
    return at < size && code[at] == opcode ? at + 1 : 0;
}

/* The instruction has saved the flags with the one that made it a single step. */
static void clear_saved_flag(const struct actor *actor, const uint8_t *code, size_t size)
{
    bool small;
    uint16_t flags;
    if (!length_if(PUSH_FLAGS, code, size, &small)) return;
    if (tracee_read(actor->real, actor->registers.rsp, &flags, sizeof flags) != sizeof flags) return;
    flags &= (uint16_t)~TRAP_FLAG;
    tracee_write(actor->real, actor->registers.rsp, &flags, sizeof flags);
}

/* popf is made here: the kernel takes the flag of the step behind it for the program's own (enable_single_step,
   arch/x86/kernel/step.c). */
static bool pop_flags(struct actor *actor, const uint8_t *code, size_t size)
{
    bool small;
    uint64_t flags = 0;
    size_t length = length_if(POP_FLAGS, code, size, &small), bytes = small ? 2 : 8;
    uint64_t mask = small ? POPPED_FLAGS | 0x4000 : POPPED_WHOLE;
    if (!length || tracee_read(actor->real, actor->registers.rsp, &flags, bytes) != bytes) return false;
    actor->registers.eflags = (actor->registers.eflags & ~mask) | (flags & mask);
    actor->registers.rsp += bytes;
    actor->registers.rip += length;
    return tracee_set_registers(actor->real, &actor->registers) == 0;
}

/* One instruction; `hit` may be NULL. False where that is a stop by itself. */
static bool step_instruction(struct replayer *replayer, struct actor *actor, const uint8_t *code, size_t size, uint64_t *hit)
{
    int status;
    if (actor->registers.eflags & TRAP_FLAG) { /* the program steps through itself: the next stop is its own */
        replayer_run_to_stop(replayer, actor);
        return false;
    }
    if (pop_flags(actor, code, size)) return true;
    if (replayer->traps.count) {
        actor->registers.eflags |= RESUME_FLAG; /* passes an execute trap that lies here */
        if (tracee_set_registers(actor->real, &actor->registers)) return false;
    }
    do {
        if (ptrace(actor->dispatched ? PTRACE_SINGLESTEP : (enum __ptrace_request)PTRACE_SYSEMU_SINGLESTEP_, actor->real, 0, 0) == -1) return false;
        if (!tracee_wait(actor->real, &status)) return false;
    } while (WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_STOP);
    actor->stop = STOP_DEAD;
    if (!WIFSTOPPED(status) || tracee_get_registers(actor->real, &actor->registers)) return false;
    if (WSTOPSIG(status) == SIGSEGV && recover_replayed_copy(actor, &replayer->agent)) return true;
    actor->registers.eflags &= ~(uint64_t)RESUME_FLAG;
    if (tracee_debug_stop(actor->real, status, size ? *code : 0)) {
        actor->stop = STOP_TRAP;
        uint64_t execute = trap_bits(&replayer->traps, TRAP_EXECUTE), watched = trap_armed(&replayer->traps, actor->task) & ~execute;
        if (hit && watched && trap_is_lost(actor->real)) actor->stop = STOP_LOST;
        else if (hit && watched) *hit |= trap_status(&replayer->traps, actor->real) & ~execute;
        clear_saved_flag(actor, code, size);
        return actor->stop == STOP_TRAP;
    }
    actor->stop = replayer_stop_of(actor, status);
    if (actor->stop == STOP_FAULT) actor->signal = WSTOPSIG(status);
    if (actor->stop == STOP_TICK && !leave_trampoline(actor->real, &actor->registers)) actor->stop = STOP_DEAD;
    return false;
}

/* The agent's instructions, up to the program's next: it saves the program's flags, too, and restores them. */
static bool step_through_agent(struct replayer *replayer, struct actor *actor, uint64_t *hit)
{
    uint8_t code[LONGEST_INSTRUCTION];
    while (in_agent(actor->registers.rip))
        if (!step_instruction(replayer, actor, code, tracee_read(actor->real, actor->registers.rip, code, sizeof code), hit)) return false;
    return true;
}

bool step_out_of_agent(struct replayer *replayer, struct actor *actor)
{
    struct region region;
    actor->stop = STOP_TRAP;
    if (!step_through_agent(replayer, actor, NULL)) return false;
    return read_stub(actor->real, actor->registers.rip / STUB_BYTES * STUB_BYTES, &region) && actor->registers.rip == region.after;
}

bool step_actor(struct replayer *replayer, struct actor *actor, uint64_t *hit)
{
    struct region region;
    *hit = 0;
    bool in_stub = read_stub(actor->real, actor->registers.rip / STUB_BYTES * STUB_BYTES, &region);
    for (;;) {
        uint8_t code[LONGEST_INSTRUCTION];
        uint64_t rip = actor->registers.rip;
        size_t size = tracee_read(actor->real, rip, code, sizeof code);
        bool back = in_stub && rip == region.after + (region.end - region.site);
        bool call = in_stub ? rip >= region.way && rip < region.after : size > 1 && code[0] == 0x0f && code[1] == 0x05;
        bool into = !in_stub && size >= JUMP_BYTES && code[0] == JUMP && read_stub(actor->real, target_of(code, rip), &region) && region.start == rip;
        if (call) {
            replayer_run_to_stop(replayer, actor);
            return false;
        }
        if (!step_instruction(replayer, actor, code, size, hit)) return false;
        if (!step_through_agent(replayer, actor, hit)) return false; /* the clock's, on the way to the next bytecode */
        if (!back && !into) return true;
        in_stub = into;
    }
}

static uint64_t execute_hits(const struct replayer *replayer, const struct actor *actor)
{
    uint64_t hit = 0;
    bool any = false;
    for (size_t i = 0; i < replayer->traps.count; i++) any |= replayer->traps.trap[i].kind == TRAP_EXECUTE;
    if (!any) return 0;
    uint64_t shown = shown_at(actor->real, actor->registers.rip);
    for (size_t i = 0; i < replayer->traps.count; i++)
        if (replayer->traps.trap[i].kind == TRAP_EXECUTE && replayer->traps.trap[i].address == shown) hit |= UINT64_C(1) << i;
    return hit;
}

static enum outcome step_on(struct replayer *replayer, struct actor *actor, uint64_t limit, uint64_t *done)
{
    struct way way;
    if (replayer->position >= replayer->chunk_end) return OUTCOME_CHUNK;
    if (!replayer_runs_on(replayer, actor, &way)) return OUTCOME_POSITION;
    uint64_t hit = 0;
    replayer_prepare(replayer, actor);
    bool behind_tick = way.pointed && replayer->due_ticks >= way.ticks;
    replayer_wind(replayer, actor, behind_tick ? 0 : way.ticks);
    /* Policy has set those of a task that begins. */
    if (actor->stop == STOP_NONE && tracee_get_registers(actor->real, &actor->registers)) return OUTCOME_FAILED;
    if (actor->stop == STOP_NONE) hit = replayer_written(replayer, actor);
    if (actor->stop == STOP_NONE || !actor->met) hit |= execute_hits(replayer, actor);
    actor->stop = STOP_TRAP;
    actor->met = true;
    actor->restarted = false;
    if (hit && trap_count(&replayer->traps, actor->task, actor->real, hit, replayer->position - 1, ticks_behind(actor))) return OUTCOME_TRAP;
    while (*done < limit) {
        if (behind_tick && replayer_has_come(actor, &way.point)) actor->stop = STOP_POINT;
        if (actor->stop == STOP_POINT || !step_actor(replayer, actor, &hit)) {
            if (actor->stop != STOP_TICK || !way.pointed || behind_tick) {
                actor->arrival = replayer->position;
                replayer->due = NULL;
                return OUTCOME_POSITION;
            }
            note_ticks(replayer, actor);
            behind_tick = true;
            actor->stop = STOP_TRAP;
        }
        ++*done;
        actor->met = true;
        hit |= execute_hits(replayer, actor);
        if (hit && trap_count(&replayer->traps, actor->task, actor->real, hit, replayer->position - 1, ticks_behind(actor))) return OUTCOME_TRAP;
    }
    return OUTCOME_TRAP;
}

enum outcome replayer_step(struct replayer *replayer, uint64_t limit, uint64_t *done)
{
    *done = 0;
    if (!replayer->due) {
        errno = EINVAL;
        return OUTCOME_FAILED;
    }
    struct actor *actor = replayer->due;
    trap_set_begin(&replayer->traps, replayer->position - 1);
    trap_counter(true);
    enum outcome outcome = step_on(replayer, actor, limit, done);
    trap_counter(false);
    if (outcome == OUTCOME_TRAP || actor->stop == STOP_TICK) note_ticks(replayer, actor);
    return outcome;
}
