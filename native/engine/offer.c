/* The replayer's side of the agent: events that a task may take from its ring without a stop. */
#include "offer.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../stub/gate.h"
#include "event.h"
#include "transfer.h"

enum { FEWEST = 16, MOST = 4096, OFFERED_BYTES = AGENT_RING_LIMIT };

bool install_agent(struct actor *actor, const struct agent_image *image)
{
    const uint64_t mapping[6] = {AGENT_TEXT, AGENT_END - AGENT_TEXT, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, (uint64_t)-1, 0};
    const uint64_t protection[6] = {AGENT_TEXT, AGENT_TEXT_LIMIT, PROT_READ | PROT_EXEC};
    const uint32_t mode = AGENT_REPLAYS;
    const int64_t counter = CLOCK_AT_REST;
    if (!image->data || replayer_inject(actor, SYS_mmap, mapping) != (int64_t)AGENT_TEXT) return false;
    if (!tracee_write(actor->real, AGENT_TEXT, image->data, image->places.size)) return false;
    if (!tracee_write(actor->real, AGENT_STATE + offsetof(struct agent_state, terms.mode), &mode, sizeof mode)) return false;
    if (!tracee_write(actor->real, AGENT_STATE + offsetof(struct agent_state, clock.counter), &counter, sizeof counter)) return false;
    actor->agent = replayer_inject(actor, SYS_mprotect, protection) == 0;
    return actor->agent;
}

bool dispatch_actor(const struct actor *actor) { return dispatch_calls(actor->real, GATE_RETURN, AGENT_GATE_RETURN); }

uint64_t stub_site(const struct actor *actor, uint64_t address)
{
    struct {
        uint64_t site;
        uint8_t code[SYSCALL_INSTRUCTION_BYTES];
    } stub;
    _Static_assert(offsetof(__typeof__(stub), code) + SYSCALL_INSTRUCTION_BYTES == STUB_SITE, "agent.h");
    if (!actor->agent || tracee_read(actor->real, address - STUB_SITE, &stub, STUB_SITE) != STUB_SITE) return address;
    return stub.code[0] == 0x0f && stub.code[1] == 0x05 ? stub.site : address;
}

void follow_patch(struct actor *actor, struct cursor outputs)
{
    uint64_t site = actor->registers.rip, instruction = site - SYSCALL_INSTRUCTION_BYTES;
    size_t count = read_array(&outputs), size;
    for (size_t i = 0; i + 1 < count; i += 2) {
        uint64_t address = read_unsigned(&outputs);
        if (!at_binary(&outputs)) {
            read_skip(&outputs); /* a piece of a file */
            continue;
        }
        const uint8_t *data = read_binary(&outputs, &size);
        int32_t distance;
        if (outputs.bad || address > instruction || address + size <= site || size < JUMP_BYTES || data[0] != JUMP) continue;
        memcpy(&distance, data + 1, sizeof distance);
        actor->registers.rip = address + JUMP_BYTES + (uint64_t)(int64_t)distance + (instruction - address) + STUB_AFTER;
    }
}

bool recover_replayed_copy(struct actor *actor, const struct agent_image *image)
{
    if (!actor->agent || !leave_copy(image, &actor->registers)) return false;
    return tracee_set_registers(actor->real, &actor->registers) == 0;
}

/* Whether the agent can carry out a memory call. */
static bool is_repeatable(const struct replayer *replayer, const struct call *call)
{
    if (call->number == SYS_brk || call->result < 0) return false;
    if (trap_bits(&replayer->traps, TRAP_WRITE)) return false; /* what it maps may be watched */
    if (call->number != SYS_madvise && call->number != SYS_mremap) return true;
    return !replayer_has_file(replayer, call->arguments[0], call->arguments[1]);
}

/* Whether the agent can take this event: what it writes is plain, and nothing but the task learns of it. `*earliest` becomes where
   lies what it refers to. */
static bool is_offerable(const struct replayer *replayer, const struct actor *actor, struct cursor *cursor, const uint8_t **earliest)
{
    const struct origin origin = {replayer->chunk, cursor->at};
    struct head head = read_head(cursor);
    if (cursor->bad || head.kind != EVENT_SYSCALL || head.task != actor->task || head.items < ITEMS_OF_CALL) return false;
    struct call call = read_call(cursor, head.items);
    const struct syscall_row *row = row_of(call.number, call.arguments);
    if (cursor->bad || !row || is_restart(call.result) || !has_plain_outputs(&call, &origin, earliest)) return false;
    if (is_shown(replayer, &call)) return false;                         /* it is read where it was written */
    if (call.number == SYS_prlimit64 && call.arguments[2]) return false; /* how far the stack may grow */
    if (row->buffering == BUFFERING_MEMORY) return actor->dispatched && is_repeatable(replayer, &call);
    return (row->replay == REPLAY_EMULATE || row->replay == REPLAY_REFUSE) && row->buffering != BUFFERING_NEVER;
}

size_t offer(struct replayer *replayer, struct actor *actor, uint64_t until)
{
    const uint8_t *start = replayer->cursor.at, *end = start, *before = start, *earliest = start;
    uint64_t limit = until < replayer->chunk_end ? until : replayer->chunk_end;
    uint64_t count = 0, most = replayer->batch ? replayer->batch : FEWEST;
    struct agent_account account = {0};
    while (count < most && replayer->position + count < limit) {
        struct cursor cursor = {end, replayer->cursor.end, false};
        const uint8_t *referred = earliest;
        if (!is_offerable(replayer, actor, &cursor, &referred) || (size_t)(cursor.at - referred) > OFFERED_BYTES) break;
        before = end;
        earliest = referred;
        end = cursor.at;
        count++;
    }
    /* The task runs on behind the last of them: what comes next must allow that. */
    struct cursor next = {end, replayer->cursor.end, false};
    if (count && (replayer->position + count >= replayer->chunk_end || waits_behind(next, actor->task))) {
        end = before;
        count--;
    }
    if (!count) return 0;
    account.size = (uint32_t)(end - earliest);
    account.count = (uint32_t)count;
    account.consumed = (uint64_t)(start - earliest);
    if (!tracee_write(actor->real, AGENT_RING, earliest, account.size)) return 0;
    if (!tracee_write(actor->real, AGENT_STATE + offsetof(struct agent_state, account), &account, sizeof account)) return 0;
    return count;
}

bool take_back(struct replayer *replayer, const struct actor *actor, size_t offered)
{
    struct agent_account account;
    uint64_t place = AGENT_STATE + offsetof(struct agent_state, account);
    if (tracee_read(actor->real, place, &account, sizeof account) != sizeof account || account.consumed_count > offered) return false;
    for (uint64_t i = 0; i < account.consumed_count; i++) read_skip(&replayer->cursor);
    replayer->position += account.consumed_count;
    bool all = account.consumed_count == offered;
    uint64_t batch = replayer->batch ? replayer->batch : FEWEST;
    replayer->batch = !all ? FEWEST : batch < MOST ? 2 * batch : MOST;
    account = (struct agent_account){0};
    return all || tracee_write(actor->real, place, &account, sizeof account);
}
