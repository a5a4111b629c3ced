#define _GNU_SOURCE
#include "space.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tracee.h"

/* Since Linux 6.4; not in older headers. */
#define PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG_ 0x4210
enum { PR_SET_SYSCALL_USER_DISPATCH_ = 59 };
struct dispatch_configuration {
    uint64_t mode, selector, offset, length;
};

static const uint8_t stub_start[] = {
    0x48, 0x8d, 0x0d, 23, 0, 0, 0,      /* lea after(%rip), %rcx */
    0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, /* movabs $AGENT_TEXT, %r11 */
    0x41, 0xff, 0xe3,                   /* jmp *%r11 */
};

enum { STUB_ENTRY = 9 };

_Static_assert(STUB_AFTER == sizeof stub_start + STUB_SITE && STUB_SITE == 8 + SYSCALL_INSTRUCTION_BYTES, "agent.h describes it");

bool agent_image_read(struct agent_image *image, const uint8_t *data, size_t size)
{
    *image = (struct agent_image){data, size, {0}};
    if (size < 8 + sizeof image->places || size > AGENT_TEXT_LIMIT) return false;
    memcpy(&image->places, data + 8, sizeof image->places);
    return image->places.magic == AGENT_MAGIC && image->places.size <= size;
}

static struct code *copy_code(const struct space *like)
{
    struct code *code = malloc(like->code_count * sizeof *code);
    if (code) memcpy(code, like->code, like->code_count * sizeof *code);
    return code;
}

static void drop_pending(struct pending **link)
{
    struct pending *pending = *link;
    *link = pending->next;
    free(pending->places);
    free(pending);
}

bool space_add_places(struct space *space, uint64_t start, uint64_t end, const struct place *places, size_t count)
{
    for (struct pending **link = &space->pending; *link;)
        if ((*link)->start < end && start < (*link)->end) drop_pending(link);
        else link = &(*link)->next;
    if (!count) return true;
    struct pending *pending = calloc(1, sizeof *pending);
    struct place *copy = pending ? malloc(count * sizeof *copy) : NULL;
    if (!copy) {
        free(pending);
        return false;
    }
    memcpy(copy, places, count * sizeof *copy);
    *pending = (struct pending){start, end, copy, count, 0, space->pending};
    space->pending = pending;
    return true;
}

bool leave_copy(const struct agent_image *image, struct user_regs_struct *registers)
{
    uint64_t place = registers->rip - AGENT_TEXT;
    if (place == image->places.copy) registers->rip = AGENT_TEXT + image->places.copied;
    else if (place >= image->places.compare && place < image->places.compared) registers->rip = AGENT_TEXT + image->places.compared;
    else return false;
    return true;
}

struct space *new_space(const struct space *like)
{
    struct space *space = calloc(1, sizeof *space);
    if (!space) return NULL;
    if (like) {
        *space = *like;
        space->code = like->code_count ? copy_code(like) : NULL;
        if (!space->code) space->code_count = 0;
        for (unsigned i = 0; i < STUB_AREAS; i++) {
            if (!like->areas[i]) continue;
            space->areas[i] = malloc(sizeof *space->areas[i]);
            if (space->areas[i]) *space->areas[i] = *like->areas[i];
        }
    }
    space->users = 1;
    space->pending = NULL;
    for (const struct pending *pending = like ? like->pending : NULL; pending; pending = pending->next)
        space_add_places(space, pending->start, pending->end, pending->places, pending->count);
    return space;
}

void release_space(struct space *space)
{
    if (!space || --space->users) return;
    free(space->code);
    while (space->pending) drop_pending(&space->pending);
    for (unsigned i = 0; i < STUB_AREAS; i++) free(space->areas[i]);
    free(space);
}

bool dispatch_calls(pid_t tid, uint64_t first, uint64_t last)
{
    struct dispatch_configuration configuration = {first != 0, 0, first, first ? last - first + 1 : 0};
    return ptrace(PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG_, tid, sizeof configuration, &configuration) == 0;
}

bool space_dispatch(pid_t tid, const struct agent_image *image, bool on)
{
    /* The addresses behind the two instructions whose calls pass, and what lies between. */
    uint64_t first = AGENT_TEXT + image->places.calls + SYSCALL_INSTRUCTION_BYTES;
    uint64_t last = AGENT_TEXT + image->places.traced + SYSCALL_INSTRUCTION_BYTES;
    if (on ? dispatch_calls(tid, first, last) : dispatch_calls(tid, 0, 0)) return true;
    /* Before Linux 6.4 only the task itself can ask for it; Linux 5.11 is the first to know it. */
    const uint64_t arguments[6] = {PR_SET_SYSCALL_USER_DISPATCH_, on, on ? first : 0, on ? last - first + 1 : 0};
    bool dead;
    return tracee_inject_at(tid, AGENT_TEXT + image->places.traced, SYS_prctl, arguments, &dead) == 0;
}

static int64_t map(pid_t tid, uint64_t address, uint64_t size, uint64_t protection, bool *dead)
{
    uint64_t fixed = address ? MAP_FIXED_NOREPLACE : 0;
    const uint64_t arguments[6] = {address, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, (uint64_t)-1, 0};
    return tracee_inject(tid, SYS_mmap, arguments, dead);
}

static void add_area(struct space *space, pid_t tid, unsigned index, uint64_t address, bool *dead)
{
    int64_t start = map(tid, address, STUB_AREA_BYTES, PROT_READ | PROT_EXEC, dead);
    if (*dead || (start < 0 && start > -4096)) return;
    space->areas[index] = calloc(1, sizeof *space->areas[index]);
    if (space->areas[index]) space->areas[index]->start = (uint64_t)start;
}

int space_install(struct space *space, pid_t tid, const struct agent_image *image, uint64_t near)
{
    bool dead = false;
    int64_t result = map(tid, AGENT_TEXT, AGENT_END - AGENT_TEXT, PROT_READ | PROT_WRITE, &dead);
    if (result != (int64_t)AGENT_TEXT) return result < 0 ? (int)result : -1;
    const uint64_t protection[6] = {AGENT_TEXT, AGENT_TEXT_LIMIT, PROT_READ | PROT_EXEC};
    if (!tracee_write(tid, AGENT_TEXT, image->data, image->places.size)) return -1;
    result = tracee_inject(tid, SYS_mprotect, protection, &dead);
    if (result || dead) return -1;
    add_area(space, tid, 0, 0, &dead);
    if (!dead && near) add_area(space, tid, 1, near, &dead);
    if (dead || !space_dispatch(tid, image, true)) return -1;
    space->agent = space->dispatch = true;
    space->clock = (struct agent_clock){CLOCK_AT_REST, CLOCK_AT_REST};
    return 0;
}

static bool overlaps(uint64_t start, uint64_t end, uint64_t other_start, uint64_t other_end)
{
    return start < other_end && other_start < end;
}

static void forget_code(struct space *space, uint64_t start, uint64_t end)
{
    for (size_t i = space->code_count; i-- > 0;)
        if (overlaps(space->code[i].start, space->code[i].end, start, end)) space->code[i] = space->code[--space->code_count];
    /* Their stubs stay: a task may still be in one. */
    for (unsigned i = 0; i < STUB_AREAS; i++)
        for (size_t j = 0; space->areas[i] && j < space->areas[i]->count; j++) {
            struct patched *patched = &space->areas[i]->patched[j];
            if (overlaps(patched->start, patched->end, start, end)) patched->start = patched->end = 0;
        }
}

bool space_add_code(struct space *space, uint64_t start, uint64_t end, struct sites *sites)
{
    forget_code(space, start, end);
    space->code_changed = true;
    struct code *code = realloc(space->code, (space->code_count + 1) * sizeof *code);
    if (!code) return false;
    space->code = code;
    code[space->code_count++] = (struct code){start, end, sites, sites != NULL};
    return true;
}

static const struct patched *stub_of(const struct space *space, uint64_t address)
{
    for (unsigned i = 0; i < STUB_AREAS; i++) {
        const struct stub_area *area = space->areas[i];
        if (!area || address < area->start || address >= area->start + area->count * STUB_BYTES) continue;
        return &area->patched[(address - area->start) / STUB_BYTES];
    }
    return NULL;
}

uint64_t space_site(const struct space *space, uint64_t address)
{
    const struct patched *stub = stub_of(space, address);
    return stub && stub->after == address ? stub->site : address;
}

const struct patched *space_patched(const struct space *space, uint64_t site)
{
    for (unsigned i = 0; i < STUB_AREAS; i++)
        for (size_t j = 0; space->areas[i] && j < space->areas[i]->count; j++) {
            const struct patched *patched = &space->areas[i]->patched[j];
            if (patched->site == site && patched->end) return patched;
        }
    return NULL;
}

uint64_t space_moved(const struct space *space, uint64_t address)
{
    for (unsigned i = 0; i < STUB_AREAS; i++)
        for (size_t j = 0; space->areas[i] && j < space->areas[i]->count; j++) {
            const struct patched *patched = &space->areas[i]->patched[j];
            if (address > patched->start && address < patched->end) return patched->after + (address - patched->site);
        }
    return address;
}

uint64_t space_unmoved(const struct space *space, uint64_t address)
{
    const struct patched *stub = stub_of(space, address);
    if (!stub || !stub->end || address < stub->after - SYSCALL_INSTRUCTION_BYTES) return address;
    return stub->site + (address - stub->after);
}

static struct site *find_site(const struct space *space, uint64_t instruction)
{
    for (size_t i = 0; i < space->code_count; i++) {
        const struct code *code = &space->code[i];
        if (!code->sites || instruction < code->start || instruction >= code->end) continue;
        struct site *item = code->sites->item;
        size_t low = 0, high = code->sites->count;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (item[middle].offset < instruction - code->start) low = middle + 1;
            else high = middle;
        }
        if (low < code->sites->count && item[low].offset == instruction - code->start) return &item[low];
    }
    return NULL;
}

static bool reaches(uint64_t from, uint64_t to)
{
    int64_t distance = (int64_t)(to - from);
    return distance > INT32_MIN && distance < INT32_MAX;
}

static struct stub_area *area_near(struct space *space, uint64_t address)
{
    for (unsigned i = 0; i < STUB_AREAS; i++) {
        struct stub_area *area = space->areas[i];
        if (area && area->count < STUBS && reaches(address, area->start) && reaches(address, area->start + STUB_AREA_BYTES)) return area;
    }
    return NULL;
}

/* jmp rel32, from the instruction at `from`. */
static void put_jump(uint8_t *code, uint64_t from, uint64_t to)
{
    int32_t distance = (int32_t)(to - (from + JUMP_BYTES));
    code[0] = JUMP;
    memcpy(code + 1, &distance, sizeof distance);
}

static void put_distance(uint8_t *word, uint64_t from, uint64_t to)
{
    int32_t distance = (int32_t)(to - from);
    memcpy(word, &distance, sizeof distance);
}

/* Moved instructions, the way to the agent, the call that stops, moved instructions, and the way back (agent.h). */
static size_t build_stub(uint8_t stub[STUB_BYTES], uint64_t address, const struct site *site, uint64_t behind)
{
    uint64_t entry = AGENT_TEXT, end = behind + site->after;
    size_t at = site->before;
    memcpy(stub, site->bytes, at);
    memcpy(stub + at, stub_start, sizeof stub_start);
    memcpy(stub + at + STUB_ENTRY, &entry, sizeof entry);
    at += sizeof stub_start;
    memcpy(stub + at, &behind, sizeof behind);
    at += sizeof behind;
    stub[at++] = 0x0f, stub[at++] = 0x05;
    memcpy(stub + at, site->bytes + site->before + SYSCALL_INSTRUCTION_BYTES, site->after);
    at += site->after;
    put_jump(stub + at, address + at, end);
    return at + JUMP_BYTES;
}

static void put_output(struct buffer *outputs, uint64_t address, const void *data, size_t size)
{
    wire_unsigned(outputs, address);
    wire_binary(outputs, data, size);
}

static bool write_code(int memory, uint64_t address, const uint8_t *code, size_t size)
{
    return pwrite(memory, code, size, (off_t)address) == (ssize_t)size;
}

size_t space_patch(struct space *space, int memory, uint64_t behind, struct buffer *outputs)
{
    uint64_t instruction = behind - SYSCALL_INSTRUCTION_BYTES;
    struct site *site = find_site(space, instruction);
    struct stub_area *area = site ? area_near(space, instruction) : NULL;
    if (!area) return 0;
    uint8_t present[sizeof site->bytes], stub[STUB_BYTES], jump[sizeof site->bytes];
    size_t size = site->before + SYSCALL_INSTRUCTION_BYTES + site->after;
    uint64_t start = instruction - site->before, address = area->start + area->count * STUB_BYTES;
    if (size < JUMP_BYTES || size > sizeof site->bytes) return 0;
    if (pread(memory, present, size, (off_t)start) != (ssize_t)size || memcmp(present, site->bytes, size) != 0) return 0;
    memset(jump, 0x90, sizeof jump);
    put_jump(jump, start, address);
    size_t stub_size = build_stub(stub, address, site, behind);
    if (!write_code(memory, address, stub, stub_size) || !write_code(memory, start, jump, size)) return 0;
    site->used = 1;
    struct patched *patched = &area->patched[area->count++];
    *patched = (struct patched){.site = behind, .start = start, .end = start + size, .after = address + site->before + STUB_AFTER};
    memcpy(patched->bytes, present, size);
    put_output(outputs, address, stub, stub_size);
    put_output(outputs, start, jump, size);
    return 2;
}

static void unpatch(const struct patched *patched, pid_t tid, uint64_t stub)
{
    uint8_t put[JUMP_BYTES], present[JUMP_BYTES];
    size_t size = patched->table ? DISTANCE_BYTES : JUMP_BYTES;
    if (patched->table) put_distance(put, patched->table, stub);
    else put_jump(put, patched->start, stub);
    if (tracee_read(tid, patched->start, present, size) != size || memcmp(present, put, size) != 0) return;
    tracee_write(tid, patched->start, patched->bytes, patched->end - patched->start);
}

void space_unpatch(struct space *space, pid_t tid)
{
    for (unsigned i = 0; i < STUB_AREAS; i++)
        for (size_t j = 0; space->areas[i] && j < space->areas[i]->count; j++) {
            struct patched *patched = &space->areas[i]->patched[j];
            if (patched->end) unpatch(patched, tid, space->areas[i]->start + j * STUB_BYTES);
            patched->start = patched->end = 0;
        }
    for (size_t i = 0; i < space->ticks; i++) {
        uint8_t tick[TICK_BYTES];
        uint64_t word = 0, address = AGENT_TICKS + i * TICK_BYTES, present;
        if (tracee_read(tid, address, tick, sizeof tick) != sizeof tick) continue;
        memcpy(&word, tick + TICK_WORD, TICK_TARGET - TICK_WORD);
        if (word && tracee_read(tid, word, &present, sizeof present) == sizeof present && present == address)
            tracee_write(tid, word, tick + TICK_TARGET, sizeof word);
    }
}

static uint64_t place_in(const struct pending *pending, const struct place *place) { return pending->start + (uint64_t)place->place; }

static uint64_t target_in(const struct pending *pending, const struct place *place) { return pending->start + (uint64_t)place->target; }

static bool is_complete(pid_t tid, const struct pending *pending)
{
    for (size_t i = 0; i < pending->count; i++) {
        const struct place *place = &pending->places[i];
        uint64_t word = target_in(pending, place);
        uint8_t present[sizeof place->bytes];
        const void *expected = place->size ? (const void *)place->bytes : &word;
        size_t size = place->size ? place->size : sizeof word;
        if (size > sizeof present || tracee_read(tid, place_in(pending, place), present, size) != size) return false;
        if (memcmp(present, expected, size) != 0) return false;
    }
    return true;
}

/* Going live, one finds in it what word leads to it: 7 bytes in the midst of the traps (0: none, but a stub). */
static void build_tick(uint8_t tick[TICK_BYTES], uint64_t address, uint64_t word, uint64_t target)
{
    static const uint8_t code[TICK_TARGET] = {
        0x48, 0x83, 0x2d, 0, 0, 0, 0, 1, /* subq $1, counter(%rip) */
        0x78, 0x06,                      /* js stop */
        0xff, 0x25, 8, 0, 0, 0,          /* jmp *target(%rip) */
        0xcc,
    };
    int32_t distance = (int32_t)(AGENT_STATE + offsetof(struct agent_state, clock.counter) - (address + 8));
    memcpy(tick, code, sizeof code);
    memcpy(tick + 3, &distance, sizeof distance);
    memcpy(tick + TICK_WORD, &word, TICK_TARGET - TICK_WORD);
    memcpy(tick + TICK_TARGET, &target, sizeof target);
}

enum { WAY_TO_TICK = 14 };

/* An entry of a jump table, which reaches only what is near: jmp *tick(%rip); .quad TICK, and behind it the jump to where the entry led. */
static uint64_t build_entry(struct space *space, pid_t tid, uint64_t entry, const struct place *place, uint64_t target, uint64_t tick, struct buffer *outputs, size_t *pairs)
{
    uint8_t stub[WAY_TO_TICK + JUMP_BYTES] = {0xff, 0x25}, word[DISTANCE_BYTES];
    int32_t distance;
    memcpy(&distance, place->bytes, sizeof distance);
    uint64_t table = target - (uint64_t)(int64_t)distance;
    struct stub_area *area = area_near(space, table);
    uint64_t address = area ? area->start + area->count * STUB_BYTES : 0;
    if (!area || !reaches(address, target)) return 0;
    memcpy(stub + 6, &tick, sizeof tick);
    put_jump(stub + WAY_TO_TICK, address + WAY_TO_TICK, target);
    put_distance(word, table, address);
    if (!tracee_write(tid, address, stub, sizeof stub) || !tracee_write(tid, entry, word, sizeof word)) return 0;
    struct patched *patched = &area->patched[area->count++];
    *patched = (struct patched){.site = target, .start = entry, .end = entry + sizeof word, .after = address + WAY_TO_TICK, .table = table};
    memcpy(patched->bytes, place->bytes, sizeof word);
    put_output(outputs, address, stub, sizeof stub);
    put_output(outputs, entry, word, sizeof word);
    *pairs += 2;
    return address + WAY_TO_TICK;
}

/* jmp *tick(%rip); .quad TICK, and behind it what is moved, with the way back. Where that begins; 0: there is no room. */
static uint64_t build_function(struct space *space, pid_t tid, uint64_t function, const struct place *place, uint64_t tick, struct buffer *outputs, size_t *pairs)
{
    uint8_t stub[STUB_BYTES] = {0xff, 0x25}, jump[sizeof place->bytes];
    struct stub_area *area = area_near(space, function);
    if (!area || place->size < JUMP_BYTES || place->size > sizeof place->bytes) return 0;
    uint64_t address = area->start + area->count * STUB_BYTES, moved = address + WAY_TO_TICK;
    memcpy(stub + 6, &tick, sizeof tick);
    memcpy(stub + WAY_TO_TICK, place->bytes, place->size);
    if (place->displacement) {
        int32_t distance;
        if (place->displacement + sizeof distance != place->size) return 0;
        memcpy(&distance, place->bytes + place->displacement, sizeof distance);
        uint64_t what = function + place->size + (uint64_t)(int64_t)distance, end = moved + place->size;
        if (!reaches(end, what)) return 0;
        distance = (int32_t)(what - end);
        memcpy(stub + WAY_TO_TICK + place->displacement, &distance, sizeof distance);
    }
    size_t size = WAY_TO_TICK + place->size + JUMP_BYTES;
    put_jump(stub + size - JUMP_BYTES, address + size - JUMP_BYTES, function + place->size);
    memset(jump, 0x90, sizeof jump);
    put_jump(jump, function, address);
    if (!tracee_write(tid, address, stub, size) || !tracee_write(tid, function, jump, place->size)) return 0;
    struct patched *patched = &area->patched[area->count++];
    *patched = (struct patched){.site = function, .start = function, .end = function + place->size, .after = moved};
    memcpy(patched->bytes, place->bytes, place->size);
    put_output(outputs, address, stub, size);
    put_output(outputs, function, jump, place->size);
    *pairs += 2;
    return moved;
}

static void write_output(pid_t tid, struct buffer *outputs, uint64_t address, const void *data, size_t size, size_t *pairs)
{
    tracee_write(tid, address, data, size);
    put_output(outputs, address, data, size);
    ++*pairs;
}

static size_t patch_places(struct space *space, pid_t tid, const struct pending *pending, struct buffer *outputs)
{
    size_t pairs = 0;
    for (size_t i = 0; i < pending->count; i++) {
        const struct place *place = &pending->places[i];
        uint8_t code[TICK_BYTES];
        uint64_t tick = AGENT_TICKS + space->ticks * TICK_BYTES, target = target_in(pending, place), where = place_in(pending, place);
        if (place->size == DISTANCE_BYTES) target = build_entry(space, tid, where, place, target, tick, outputs, &pairs);
        else if (place->size) target = build_function(space, tid, where, place, tick, outputs, &pairs);
        if (!target) continue;
        build_tick(code, tick, place->size ? 0 : where, target);
        write_output(tid, outputs, tick, code, sizeof code, &pairs);
        if (!place->size) write_output(tid, outputs, where, &tick, sizeof tick, &pairs);
        space->ticks++;
    }
    return pairs;
}

/* A file may be mapped without being relocated ever. */
enum { MOST_LOOKS = 1000 };

size_t space_patch_places(struct space *space, pid_t tid, struct buffer *outputs)
{
    size_t pairs = 0;
    for (struct pending **link = &space->pending; *link;) {
        struct pending *pending = *link;
        if (!is_complete(tid, pending) && ++pending->looks < MOST_LOOKS) {
            link = &pending->next;
            continue;
        }
        if (pending->looks < MOST_LOOKS && pending->count <= TICKS - space->ticks) pairs += patch_places(space, tid, pending, outputs);
        drop_pending(link);
    }
    return pairs;
}

static bool is_stop_of_tick(uint64_t rip)
{
    uint64_t tick = rip - TICK_STOP;
    return tick >= AGENT_TICKS && tick < AGENT_TICKS + TICKS * TICK_BYTES && (tick - AGENT_TICKS) % TICK_BYTES == 0;
}

bool is_at_tick(pid_t tid)
{
    struct user_regs_struct registers;
    return tracee_get_registers(tid, &registers) == 0 && is_stop_of_tick(registers.rip);
}

bool leave_trampoline(pid_t tid, struct user_regs_struct *registers)
{
    uint64_t target;
    if (!is_stop_of_tick(registers->rip)) return false;
    if (tracee_read(tid, registers->rip - TICK_STOP + TICK_TARGET, &target, sizeof target) != sizeof target) return false;
    registers->rip = target;
    registers->orig_rax = (uint64_t)-1;
    return tracee_set_registers(tid, registers) == 0;
}
