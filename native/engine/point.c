#define _GNU_SOURCE
#include "point.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../agent/agent.h"
#include "checksum.h"
#include "event.h"
#include "replayer.h"
#include "step.h"
#include "tracee.h"
#include "transfer.h"

enum {
    KEPT_LIMIT = 128, /* comparisons of memory within the task */
    PAGES = 3,       /* of a detour: the code begins in the first */
    SLOTS = 2 * PAGE_BYTES, /* in them, behind the code */
    SLOT_RAX = SLOTS,
    SLOT_FLAGS = SLOTS + 8,
    SLOT_REGISTERS = SLOTS + 16,
    SLOT_KEPT = SLOT_REGISTERS + 16 * 8,
    LAHF_FLAGS = 0xd5, /* in AH: SF ZF AF PF CF (Intel SDM 2, LAHF) */
    OVERFLOW_FLAG = 0x800,
    LOWEST = 1 << 20, /* address of a detour */
    MOST_EXCLUDED = 1 << 16,
    LARGEST_SPAN = 1 << 26, /* of what is not sparse */
};

static const uint8_t int3 = 0xcc;

bool has_changed(pid_t tid, struct cursor *cursor, uint64_t *address)
{
    size_t count = read_array(cursor);
    for (size_t i = 0; i + 1 < count; i += 2) {
        size_t size;
        *address = read_unsigned(cursor);
        const uint8_t *recorded = read_binary(cursor, &size);
        uint8_t present[STRING_LIMIT];
        cursor->bad |= size > sizeof present;
        if (cursor->bad || tracee_read(tid, *address, present, size) != size || memcmp(present, recorded, size) != 0) return true;
    }
    return false;
}

bool read_point(struct cursor *cursor, size_t items, struct point *point)
{
    size_t size;
    *point = (struct point){0};
    const uint8_t *registers = read_binary(cursor, &size);
    if (cursor->bad || size != sizeof point->registers) return false;
    memcpy(&point->registers, registers, size);
    if (items <= NUMBERS_IN_HEAD + 2) return false;
    read_unsigned(cursor);
    if (items > NUMBERS_IN_HEAD + 3) read_skip(cursor);
    point->keeps = items > NUMBERS_IN_HEAD + 4;
    point->kept = *cursor;
    if (point->keeps) read_skip(cursor);
    if (items < NUMBERS_IN_HEAD + 9) return !cursor->bad;
    point->xstate = read_binary(cursor, &point->xstate_size);
    point->memory = *cursor;
    read_skip(cursor);
    point->excluded = *cursor;
    read_skip(cursor);
    point->moved.count = (unsigned)(read_array(cursor) - 2) / 2;
    point->moved.code = read_binary(cursor, &point->moved.size);
    point->moved.protection = read_unsigned(cursor);
    cursor->bad |= in_agent(point->registers.rip) || point->moved.protection & ~(uint64_t)(PROT_READ | PROT_WRITE | PROT_EXEC);
    cursor->bad |= point->moved.count > MOST_MOVED || !point->moved.size || point->moved.size > MOST_MOVED * LONGEST_INSTRUCTION;
    size_t lengths = 0;
    for (unsigned i = 0; i < point->moved.count && !cursor->bad; i++) {
        uint64_t length = read_unsigned(cursor), displacement = read_unsigned(cursor);
        cursor->bad |= !length || length > LONGEST_INSTRUCTION || displacement >= length || (displacement && displacement + (length == 2 ? 1 : 4) > length);
        point->moved.item[i].length = (uint8_t)length;
        point->moved.item[i].displacement = (uint8_t)displacement;
        lengths += length;
    }
    cursor->bad |= point->moved.count && (lengths != point->moved.size || lengths < JUMP_BYTES);
    return !cursor->bad;
}

/* Where the last instruction and operand of the x87 were is kept by some processors only, and XSTATE_BV tells what happens to be held
   for in use (tracee_settle_xstate); what is not has its first values in its place. */
bool is_same_xstate(const uint8_t *one, const uint8_t *other, size_t size)
{
    enum { LAST_OPERATION = 6, MXCSR = 24, XSTATE_BV = 512, COMPONENTS = 576 };
    if (size < COMPONENTS || memcmp(one, other, LAST_OPERATION) || memcmp(one + MXCSR, other + MXCSR, XSTATE_BV - MXCSR)) return false;
    return memcmp(one + COMPONENTS, other + COMPONENTS, size - COMPONENTS) == 0;
}

uint64_t hash_span(pid_t tid, const struct span *span, const struct iovec *excluded, size_t count)
{
    struct buffer sums = {0};
    uint64_t hash = 0;
    if (!checksum_range(tid, span->start, span->end, span->sparse, &sums) || sums.failed) hash = 1;
    for (size_t i = 0; i < sums.size / sizeof(struct page_sum); i++) {
        const struct page_sum *sum = (const struct page_sum *)(const void *)sums.data + i;
        bool skipped = false;
        for (size_t k = 0; k < count; k++)
            skipped |= (uintptr_t)excluded[k].iov_base < sum->address + PAGE_BYTES && sum->address < (uintptr_t)excluded[k].iov_base + excluded[k].iov_len;
        if (skipped) continue;
        hash = (hash ^ sum->address ^ sum->hash) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    buffer_free(&sums);
    return hash;
}

static bool is_same_memory(pid_t tid, struct cursor memory, struct cursor excluded)
{
    struct iovec *ranges = NULL;
    size_t count = read_array(&excluded) / 2;
    if (count > MOST_EXCLUDED || (count && !(ranges = calloc(count, sizeof *ranges)))) return false;
    for (size_t i = 0; i < count && !excluded.bad; i++) {
        uint64_t start = read_unsigned(&excluded);
        ranges[i] = (struct iovec){(void *)(uintptr_t)start, read_unsigned(&excluded) - start};
    }
    bool same = !excluded.bad;
    for (size_t spans = read_array(&memory) / 4; spans && same; spans--) {
        struct span span = {.start = read_unsigned(&memory)};
        span.end = read_unsigned(&memory);
        span.sparse = read_unsigned(&memory);
        uint64_t hash = read_unsigned(&memory);
        bool possible = span.sparse || span.end - span.start <= LARGEST_SPAN; /* a damaged one would be read for ever */
        same = !memory.bad && possible && hash_span(tid, &span, ranges, count) == hash;
    }
    free(ranges);
    return same;
}

bool is_at_point(pid_t tid, const struct user_regs_struct *registers, const struct point *point)
{
    static uint8_t area[XSTATE_BYTES];
    size_t size = sizeof area;
    struct cursor kept = point->kept;
    uint64_t address;
    if (!tracee_same_place(registers, &point->registers)) return false;
    if (point->keeps && (has_changed(tid, &kept, &address) || kept.bad)) return false;
    if (!point->xstate_size) return true;
    if (tracee_get_xstate(tid, area, &size) || size != point->xstate_size || !is_same_xstate(area, point->xstate, size)) return false;
    return is_same_memory(tid, point->memory, point->excluded);
}

/* Code of the detour. */

struct emitter {
    uint8_t *page;
    unsigned size;
    unsigned misses[16 + KEPT_LIMIT], miss_count; /* jumps to `miss` */
};

static void emit(struct emitter *to, const void *bytes, unsigned size)
{
    memcpy(to->page + to->size, bytes, size);
    to->size += size;
}

/* The four bytes of a displacement to an offset in the page, behind which the instruction ends. */
static void emit_distance(struct emitter *to, unsigned offset)
{
    int32_t distance = (int32_t)offset - (int32_t)(to->size + 4);
    emit(to, &distance, sizeof distance);
}

static void emit_slot(struct emitter *to, const uint8_t *instruction, unsigned size, unsigned slot)
{
    emit(to, instruction, size);
    emit_distance(to, slot);
}

#define EMIT_SLOT(to, slot, ...) emit_slot(to, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), slot)
#define EMIT(to, ...) emit(to, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void emit_jump_if_different(struct emitter *to)
{
    EMIT(to, 0x0f, 0x85, 0, 0, 0, 0);
    to->misses[to->miss_count++] = to->size;
}

static void put_slot(struct emitter *to, unsigned slot, uint64_t value) { memcpy(to->page + slot, &value, sizeof value); }

static void compare_registers(struct emitter *to, const struct user_regs_struct *wanted)
{
    const uint64_t values[16] = {wanted->rax, wanted->rcx, wanted->rdx, wanted->rbx, wanted->rsp, wanted->rbp, wanted->rsi, wanted->rdi,
                                 wanted->r8, wanted->r9, wanted->r10, wanted->r11, wanted->r12, wanted->r13, wanted->r14, wanted->r15};
    for (unsigned i = 1; i <= 16; i++) {
        unsigned number = i % 16, slot = SLOT_REGISTERS + number * 8;
        put_slot(to, slot, values[number]);
        if (!number) EMIT_SLOT(to, SLOT_RAX, 0x48, 0x8b, 0x05);                              /* mov rax(%rip), %rax */
        EMIT_SLOT(to, slot, number > 7 ? 0x4c : 0x48, 0x3b, (uint8_t)((number & 7) << 3 | 5)); /* cmp wanted(%rip), %register */
        emit_jump_if_different(to);
    }
}

/* In pieces of 8, 4 and 1 bytes; what there is no room for is not compared here. */
static void compare_memory(struct emitter *to, struct cursor kept)
{
    unsigned pieces = 0;
    size_t count = read_array(&kept);
    for (size_t i = 0; i + 1 < count && !kept.bad; i += 2) {
        size_t size;
        uint64_t address = read_unsigned(&kept);
        const uint8_t *bytes = read_binary(&kept, &size);
        for (size_t at = 0; !kept.bad && at < size && pieces < KEPT_LIMIT; pieces++) {
            size_t width = size - at >= 8 ? 8 : size - at >= 4 ? 4 : 1;
            unsigned slot = SLOT_KEPT + pieces * 16;
            uint64_t value = 0;
            memcpy(&value, bytes + at, width);
            put_slot(to, slot, address + at);
            put_slot(to, slot + 8, value);
            EMIT_SLOT(to, slot, 0x48, 0x8b, 0x05); /* mov address(%rip), %rax */
            if (width == 8) EMIT(to, 0x48, 0x8b, 0x00);
            else if (width == 4) EMIT(to, 0x8b, 0x00);
            else EMIT(to, 0x8a, 0x00);
            if (width == 8) EMIT_SLOT(to, slot + 8, 0x48, 0x3b, 0x05);
            else if (width == 4) EMIT_SLOT(to, slot + 8, 0x3b, 0x05);
            else EMIT_SLOT(to, slot + 8, 0x3a, 0x05);
            emit_jump_if_different(to);
            at += width;
        }
    }
}

/* A displacement that leads elsewhere from here, behind which the instruction ends. False: it is too far away. */
static bool emit_displacement(struct emitter *to, const struct detour *detour, uint64_t target)
{
    int64_t distance = (int64_t)(target - (detour->page + to->size + 4));
    int32_t displacement = (int32_t)distance;
    emit(to, &displacement, sizeof displacement);
    return displacement == distance;
}

/* A branch with a displacement of one byte. */
static bool emit_branch(struct emitter *to, const struct detour *detour, const uint8_t *code, uint64_t target)
{
    enum { CONDITIONS = 0x70, SHORT_JUMP = 0xeb };
    if ((code[0] & 0xf0) == CONDITIONS) EMIT(to, 0x0f, (uint8_t)(0x80 | (code[0] & 0x0f)));
    else if (code[0] == SHORT_JUMP) EMIT(to, JUMP);
    else EMIT(to, code[0], 2, SHORT_JUMP, 5, JUMP); /* loop and jrcxz have no longer form */
    return emit_displacement(to, detour, target);
}

/* The instructions, executed there. False: what one refers to is too far away. */
static bool emit_moved(struct emitter *to, struct detour *detour, const struct moved *moved)
{
    bool reaches = true;
    for (unsigned i = 0, at = 0; i < moved->count; at += moved->item[i++].length) {
        unsigned length = moved->item[i].length, displacement = moved->item[i].displacement;
        const uint8_t *bytes = moved->code + at;
        uint64_t next = detour->address + at + length;
        detour->within[i] = at;
        detour->moved[i] = to->size;
        if (displacement && length == 2) {
            reaches &= emit_branch(to, detour, bytes, next + (uint64_t)(int64_t)(int8_t)bytes[1]);
            continue;
        }
        emit(to, bytes, length);
        if (!displacement) continue;
        uint8_t *place = to->page + detour->moved[i] + displacement;
        int32_t old, new;
        memcpy(&old, place, sizeof old);
        int64_t distance = old + (int64_t)(next - (detour->page + to->size));
        new = (int32_t)distance;
        memcpy(place, &new, sizeof new);
        reaches &= new == distance;
    }
    return reaches;
}

static bool write_detour(struct detour *detour, const struct actor *actor)
{
    const struct point *point = detour->point;
    uint8_t page[PAGES * PAGE_BYTES] = {0};
    struct emitter to = {.page = page, .size = detour->entry};
    EMIT_SLOT(&to, SLOT_RAX, 0x48, 0x89, 0x05); /* mov %rax, rax(%rip) */
    EMIT(&to, 0x9f, 0x0f, 0x90, 0xc0);          /* lahf; seto %al */
    EMIT_SLOT(&to, SLOT_FLAGS, 0x48, 0x89, 0x05);
    detour->compare = to.size;
    compare_registers(&to, &point->registers);
    if (detour->near && point->keeps) compare_memory(&to, point->kept);
    detour->hit = to.size;
    EMIT(&to, 0xcc);
    detour->miss = to.size;
    EMIT_SLOT(&to, SLOT_FLAGS, 0x48, 0x8b, 0x05);
    EMIT(&to, 0x04, 0x7f, 0x9e); /* add $0x7f, %al; sahf */
    EMIT_SLOT(&to, SLOT_RAX, 0x48, 0x8b, 0x05);
    if (!emit_moved(&to, detour, &point->moved)) return false;
    detour->back = to.size;
    EMIT(&to, JUMP);
    emit_displacement(&to, detour, detour->address + detour->point->moved.size);
    for (unsigned i = 0; i < to.miss_count; i++) {
        int32_t distance = (int32_t)detour->miss - (int32_t)to.misses[i];
        memcpy(page + to.misses[i] - 4, &distance, sizeof distance);
    }
    return tracee_write(actor->real, detour->page, page, sizeof page);
}

/* Maps the pages of a detour where the jump to its entry has an int3 at the beginning of each instruction that it overwrites. */
static bool map_detour(struct detour *detour, struct actor *actor, const struct moved *moved)
{
    enum { HIGHS = 8, PARTS = 16 };
    static const uint8_t highs[HIGHS] = {0xfd, 0xfa, 0xf4, 0xe8, 0xc0, 0x02, 0x10, 0x40};
    bool fixed[JUMP_BYTES] = {false};
    for (unsigned i = 0, at = 0; i < moved->count && (at += moved->item[i].length) < JUMP_BYTES; i++) fixed[at] = true;
    for (unsigned high = 0; high < (fixed[4] ? 1 : HIGHS); high++)
        for (unsigned part = 0; part < (fixed[3] ? 1 : PARTS); part++) {
            const uint8_t patch[JUMP_BYTES] = {JUMP, fixed[1] ? int3 : 0, fixed[2] ? int3 : 0, fixed[3] ? int3 : (uint8_t)(part * 256 / PARTS), fixed[4] ? int3 : highs[high]};
            int32_t distance;
            memcpy(&distance, patch + 1, sizeof distance);
            uint64_t target = detour->address + JUMP_BYTES + (uint64_t)(int64_t)distance, page = target & ~(uint64_t)(PAGE_BYTES - 1);
            if (page < LOWEST || page >= ADDRESS_LIMIT - PAGES * PAGE_BYTES) continue;
            const uint64_t mapping[6] = {page, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1};
            if (replayer_inject(actor, SYS_mmap, mapping) != (int64_t)page) continue;
            memcpy(detour->patch, patch, sizeof patch);
            detour->page = page;
            detour->entry = (unsigned)(target - page);
            return true;
        }
    return false;
}

void detour_begin(struct detour *detour, const struct point *point, bool near, bool moves)
{
    *detour = (struct detour){.address = point->registers.rip, .point = point, .near = near, .moves = moves && point->moved.count};
}

static void unmap_detour(struct detour *detour, struct actor *actor)
{
    const uint64_t arguments[6] = {detour->page, PAGES * PAGE_BYTES};
    if (detour->page) replayer_inject(actor, SYS_munmap, arguments);
    detour->page = 0;
}

/* Memory that can be executed only would get a key of its own, and reading it a fault (execute_only_pkey, arch/x86/mm/pkeys.c). */
static void protect(struct detour *detour, struct actor *actor, bool on)
{
    const struct moved *moved = &detour->point->moved;
    uint64_t start = detour->address & ~(uint64_t)(PAGE_BYTES - 1), end = detour->address + moved->size;
    uint64_t protection = on ? (moved->protection & ~(uint64_t)PROT_WRITE) | PROT_READ : moved->protection;
    const uint64_t arguments[6] = {start, end - start, protection};
    if (replayer_inject(actor, SYS_mprotect, arguments) == 0) detour->protected = on;
}

void detour_leave(struct detour *detour, struct actor *actor)
{
    if (detour->protected) protect(detour, actor, false);
    detour->written = false;
}

void detour_end(struct detour *detour, struct actor *actor)
{
    if (actor->stop != STOP_DEAD) {
        detour_leave(detour, actor);
        unmap_detour(detour, actor);
    }
    *detour = (struct detour){0};
}

static bool is_there(pid_t tid, uint64_t address, const uint8_t *bytes, size_t size)
{
    uint8_t present[MOST_MOVED * LONGEST_INSTRUCTION];
    return tracee_read(tid, address, present, size) == size && memcmp(present, bytes, size) == 0;
}

bool detour_put(struct detour *detour, struct actor *actor, const struct trap_set *traps)
{
    const struct moved *moved = &detour->point->moved;
    bool written = !moved->size || is_there(actor->real, detour->address, moved->code, moved->size);
    detour->put = 0;
    if (written && detour->moves && !detour->page) detour->moves = map_detour(detour, actor, moved) && write_detour(detour, actor);
    if (!written || !detour->moves) unmap_detour(detour, actor);
    if (!detour->page) detour_leave(detour, actor);
    detour->armed = !detour->page && trap_await(traps, actor->task, actor->real, detour->address);
    if (detour->armed) return true;
    if (moved->protection && !detour->protected) protect(detour, actor, true);
    if (moved->protection && !detour->protected) {
        unmap_detour(detour, actor);
        detour->moves = false;
        return detour->armed = trap_await(traps, actor->task, actor->real, detour->address);
    }
    if (!written) return detour->protected; /* whoever writes it is met */
    size_t size = detour->page ? JUMP_BYTES : 1;
    if (tracee_read(actor->real, detour->address, detour->original, size) != size) return true;
    if (tracee_write(actor->real, detour->address, detour->page ? detour->patch : &int3, size)) detour->put = size;
    if (detour->page && detour->passes && actor->registers.rip == detour->address) {
        uint64_t flags = (actor->registers.eflags & LAHF_FLAGS) << 8 | (actor->registers.eflags & OVERFLOW_FLAG ? 1 : 0);
        const uint64_t saved[2] = {actor->registers.rax, flags};
        tracee_write(actor->real, detour->page + SLOT_RAX, saved, sizeof saved);
        actor->registers.rip = detour->page + detour->miss;
        tracee_set_registers(actor->real, &actor->registers);
    }
    detour->passes = false;
    for (unsigned i = 1; detour->page && i < moved->count; i++)
        if (actor->registers.rip == detour->address + detour->within[i]) {
            actor->registers.rip = detour->page + detour->moved[i];
            tracee_set_registers(actor->real, &actor->registers);
        }
    return true;
}

/* The registers of the program, where those of the detour are in use. */
static void restore(const struct detour *detour, struct actor *actor)
{
    uint64_t saved[2];
    if (tracee_read(actor->real, detour->page + SLOT_RAX, saved, sizeof saved) != sizeof saved) return;
    actor->registers.rax = saved[0];
    actor->registers.eflags &= ~(uint64_t)(LAHF_FLAGS | OVERFLOW_FLAG);
    actor->registers.eflags |= (saved[1] >> 8 & LAHF_FLAGS) | (saved[1] & 1 ? OVERFLOW_FLAG : 0);
}

static bool take_armed(const struct detour *detour, struct actor *actor, int status, const struct trap_set *traps)
{
    bool come = actor->registers.rip == detour->address && tracee_debug_stop(actor->real, status, 0) && !(actor->registers.eflags & TRAP_FLAG);
    if (trap_status(traps, actor->real) & ~trap_bits(traps, TRAP_EXECUTE)) come = false; /* the instruction before it has met that */
    trap_arm(traps, actor->task, actor->real);
    return come && !trap_lies_at(traps, actor->task, actor->real, detour->address); /* else it is known as one of these */
}

static bool meets_protection(const struct detour *detour, const struct actor *actor, int status)
{
    siginfo_t info;
    if (status >> 8 != SIGSEGV || ptrace(PTRACE_GETSIGINFO, actor->real, 0, &info) || info.si_code != SEGV_ACCERR) return false;
    uint64_t address = (uintptr_t)info.si_addr / PAGE_BYTES, first = detour->address / PAGE_BYTES, last = (detour->address + detour->point->moved.size - 1) / PAGE_BYTES;
    return first <= address && address <= last && !in_agent(actor->registers.rip);
}

bool detour_take(struct detour *detour, struct actor *actor, int status, const struct trap_set *traps)
{
    if (detour->armed) return take_armed(detour, actor, status, traps);
    uint64_t rip = actor->registers.rip;
    unsigned count = detour->point->moved.count;
    siginfo_t info;
    bool trap = status >> 8 == SIGTRAP && ptrace(PTRACE_GETSIGINFO, actor->real, 0, &info) == 0 && info.si_code == SI_KERNEL;
    tracee_write(actor->real, detour->address, detour->original, detour->put);
    detour->written = detour->protected && meets_protection(detour, actor, status);
    if (!detour->page) {
        bool hit = trap && detour->put && rip == detour->address + 1;
        if (hit) actor->registers.rip = detour->address;
        return (hit || detour->written) && tracee_set_registers(actor->real, &actor->registers) == 0;
    }
    /* Something has jumped to one of the instructions behind the first. */
    for (unsigned i = 1; trap && i < count; i++)
        if (detour->within[i] < JUMP_BYTES && rip == detour->address + detour->within[i] + 1) {
            actor->registers.rip = rip - 1;
            return tracee_set_registers(actor->real, &actor->registers) == 0;
        }
    if (rip < detour->page || rip >= detour->page + PAGES * PAGE_BYTES) return detour->written;
    unsigned offset = (unsigned)(rip - detour->page);
    if (offset >= detour->compare && offset < detour->moved[0]) restore(detour, actor);
    bool hit = trap && offset == detour->hit + 1;
    bool fault = status >> 8 != SIGTRAP && offset >= detour->compare && offset < detour->hit;
    actor->registers.rip = detour->address;
    for (unsigned i = 1; i < count; i++)
        if (offset >= detour->moved[i]) actor->registers.rip = detour->address + detour->within[i];
    if (offset >= detour->back) actor->registers.rip = detour->address + detour->point->moved.size;
    detour->passes = fault;
    return tracee_set_registers(actor->real, &actor->registers) == 0 && (hit || fault || detour->written);
}
