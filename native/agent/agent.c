/* The hook: what the agent does with a system call. Freestanding; it keeps everything in its state (agent.h). */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "../engine/event.h"
#include "../engine/repeat.h"
#include "../engine/tracee.h"
#include "../engine/transfer.h"
#include "../stub/gate.h"
#include "layout.h"

_Static_assert(offsetof(struct agent_state, target) == STATE_TARGET, "layout.h");
_Static_assert(offsetof(struct agent_state, rsp) == STATE_RSP, "layout.h");
_Static_assert(offsetof(struct agent_state, terms.attention) == STATE_ATTENTION, "layout.h");
_Static_assert(offsetof(struct agent_state, stack) + AGENT_STACK_BYTES == STATE_STACK_TOP, "layout.h");
_Static_assert(AGENT_MAGIC == 0x31746e6567617279, "entry.S");

/* What a pipe or socket that is ready for writing takes without waiting (PIPE_BUF). */
enum { WRITTEN_AT_ONCE = 4096 };

/* linux/close_range.h, since Linux 5.11; not in older headers. */
enum { CLOSE_RANGE_CLOEXEC_ = 4 };

extern struct agent_state agent_state;
int64_t agent_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
int64_t agent_ask(uint64_t number, uint64_t a, uint64_t b, uint64_t c);
int64_t agent_repeat(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
void agent_flush(void);
void agent_report(void);
size_t agent_copy(void *to, const void *from, size_t size);
bool agent_equals(const void *a, const void *b, size_t size);
void agent_hook(struct agent_frame *frame);

/* The engine's way to a tracee's memory, for the files that both are made of. */
size_t tracee_read(pid_t pid, uint64_t address, void *to, size_t size)
{
    (void)pid;
    if (address >= ADDRESS_LIMIT) return 0;
    if (size > ADDRESS_LIMIT - address) size = ADDRESS_LIMIT - address;
    return size - agent_copy(to, (const void *)address, size);
}

uint8_t *buffer_extend(struct buffer *buffer, size_t size)
{
    if (buffer->failed || size > buffer->capacity - buffer->size) {
        buffer->failed = true;
        return NULL;
    }
    uint8_t *place = buffer->data + buffer->size;
    buffer->size += size;
    return place;
}

bool ranges_grow(struct ranges *ranges)
{
    if (ranges->capacity) {
        ranges->failed = true;
        return false;
    }
    ranges->item = agent_state.ranges;
    ranges->capacity = AGENT_RANGES;
    return true;
}

void ranges_free(struct ranges *ranges) { (void)ranges; }

static bool is_ready(uint64_t descriptor, short events)
{
    struct pollfd poll = {(int)descriptor, events, 0};
    return agent_ask(SYS_poll, (uintptr_t)&poll, 1, 0) > 0;
}

static bool stat_file(uint64_t descriptor, struct stat *status)
{
    return agent_ask(SYS_fstat, descriptor, (uintptr_t)status, 0) == 0;
}

static bool is_regular(uint64_t descriptor)
{
    struct stat status;
    return stat_file(descriptor, &status) && S_ISREG(status.st_mode);
}

static bool reads_without_waiting(uint64_t number, const uint64_t arguments[6])
{
    if (number == SYS_recvfrom && arguments[3] & MSG_DONTWAIT) return true;
    if (number == SYS_recvmsg && arguments[2] & MSG_DONTWAIT) return true;
    if (number == SYS_recvfrom && arguments[3] & MSG_WAITALL) return false;
    if (number == SYS_recvmsg && arguments[2] & MSG_WAITALL) return false;
    return is_ready(arguments[0], POLLIN);
}

static bool writes_without_waiting(uint64_t number, const uint64_t arguments[6])
{
    bool sized = number == SYS_write || number == SYS_sendto;
    if (sized && arguments[2] <= WRITTEN_AT_ONCE) return is_ready(arguments[0], POLLOUT);
    return is_regular(arguments[0]);
}

static bool is_same(const struct agent_file *file, const struct stat *status)
{
    return file->inode == status->st_ino && file->device == status->st_dev;
}

/* Whether the call changes a file of which the recorder must know. */
static bool is_watched(const struct syscall_row *row, const uint64_t arguments[6])
{
    const struct agent_terms *terms = &agent_state.terms;
    struct stat status;
    if (row->effect != EFFECT_WRITE && row->effect != EFFECT_TRUNCATE) return false;
    if (terms->watched_count > AGENT_WATCHED) return true;
    if (!terms->watched_count || !stat_file(arguments[row->effect_arg], &status)) return false;
    for (uint32_t i = 0; i < terms->watched_count; i++)
        if (is_same(&terms->watched[i], &status)) return true;
    return false;
}

static bool is_code(uint64_t start, uint64_t size)
{
    if (agent_state.code_count > AGENT_CODES || start + size < start) return true;
    for (uint64_t i = 0; i < agent_state.code_count; i++)
        if (start < agent_state.code[i].end && agent_state.code[i].start < start + size) return true;
    return start < AGENT_END && start + size > AGENT_TEXT;
}

static bool is_plain_memory(uint64_t number, const uint64_t arguments[6])
{
    if (number == SYS_brk) return true;
    if (number == SYS_mmap && !(arguments[3] & MAP_ANONYMOUS)) return false;
    if (number == SYS_mmap && !(arguments[3] & MAP_FIXED)) return true;
    /* A mapping that grows may show more of its file, and is the recorder's then. */
    if (number == SYS_mremap && (arguments[2] > arguments[1] || arguments[3] & ~(uint64_t)MREMAP_MAYMOVE)) return false;
    return !is_code(arguments[0], arguments[1]);
}

/* What the tracer acts upon at once. */
static bool concerns_tracer(uint64_t number, const uint64_t arguments[6])
{
    switch (number) {
    case SYS_rt_sigaction: return arguments[0] == SIGSYS && arguments[1];
    case SYS_prlimit64: return arguments[2] != 0;
    case SYS_close_range: return arguments[2] & ~(uint64_t)CLOSE_RANGE_CLOEXEC_;
    default: return false;
    }
}

static bool may_call(const struct syscall_row *row, uint64_t number, const uint64_t arguments[6])
{
    bool alone = agent_state.terms.alone;
    if (is_watched(row, arguments)) return false;
    switch (row->buffering) {
    case BUFFERING_ALWAYS: return !concerns_tracer(number, arguments);
    case BUFFERING_MEMORY: return is_plain_memory(number, arguments);
    case BUFFERING_READ: return alone || reads_without_waiting(number, arguments);
    case BUFFERING_WRITE: return alone || writes_without_waiting(number, arguments);
    case BUFFERING_WAIT: return alone || number == SYS_epoll_wait || arguments[2] == 0;
    case BUFFERING_ALONE: return alone;
    default: return false;
    }
}

static int64_t make_call(const struct syscall_row *row, const struct agent_frame *frame)
{
    if (row->replay == REPLAY_REFUSE) return -ENOSYS;
    if (row->buffering != BUFFERING_WAIT || agent_state.terms.alone || frame->rax != SYS_epoll_wait)
        return agent_call(frame->rax, frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9);
    int64_t result = agent_call(frame->rax, frame->rdi, frame->rsi, frame->rdx, 0, 0, 0);
    return result || (int)frame->r10 == 0 ? result : CALLED_OFF;
}

/* Writing to the program's own memory file changes memory: its descriptor is the recorder's to find. */
static bool opens_memory(const struct syscall_row *row, const struct buffer *inputs)
{
    static const char name[] = "mem";
    if (row->effect != EFFECT_OPEN || inputs->size < sizeof name) return false;
    return memcmp(inputs->data + inputs->size - sizeof name, name, sizeof name) == 0;
}

/* A name like /dev/stdout opens the same file once more. */
static uint8_t opened_stream(uint64_t number, const uint64_t arguments[6], int64_t result)
{
    uint64_t flags = number == SYS_openat ? arguments[2] : number == SYS_open ? arguments[1] : O_RDONLY;
    struct stat status;
    if (number != SYS_creat && (flags & O_ACCMODE) == O_RDONLY) return 0;
    if (!stat_file((uint64_t)result, &status)) return 0;
    for (uint8_t i = 1; i < 3; i++)
        if (agent_state.terms.stream[i].device && is_same(&agent_state.terms.stream[i], &status)) return i;
    return 0;
}

static void set_stream(uint64_t descriptor, uint8_t stream)
{
    if (descriptor >= AGENT_STREAMS || agent_state.terms.streams[descriptor] == stream) return;
    agent_state.terms.streams[descriptor] = stream;
    agent_state.account.streams_changed = 1;
}

static uint8_t stream_of(uint64_t descriptor) { return descriptor < AGENT_STREAMS ? agent_state.terms.streams[descriptor] : 0; }

static void follow_mask(const uint64_t arguments[6], uint64_t set)
{
    uint64_t *mask = &agent_state.account.mask;
    enum { SIG_BLOCK_, SIG_UNBLOCK_, SIG_SETMASK_ };
    if (!arguments[1]) return;
    if (arguments[0] == SIG_BLOCK_) *mask |= set;
    if (arguments[0] == SIG_UNBLOCK_) *mask &= ~set;
    if (arguments[0] == SIG_SETMASK_) *mask = set;
}

static void follow_action(const uint64_t arguments[6], const struct kernel_sigaction *action)
{
    if (!arguments[1] || arguments[0] >= AGENT_SIGNALS || !arguments[0]) return;
    agent_state.actions[arguments[0]] = *action;
    agent_state.account.actions_changed |= UINT64_C(1) << (arguments[0] - 1);
}

/* The recorder's own follow_streams, without what stops in it. */
static void follow(const struct syscall_row *row, uint64_t number, const uint64_t arguments[6], int64_t result)
{
    if (row->effect == EFFECT_CLOSE) set_stream(arguments[0], 0);
    if (result < 0) return;
    switch (row->effect) {
    case EFFECT_OPEN: set_stream((uint64_t)result, opened_stream(number, arguments, result)); break;
    case EFFECT_DUP: set_stream((uint64_t)result, stream_of(arguments[0])); break;
    case EFFECT_DUP_TO: set_stream(arguments[1], stream_of(arguments[0])); break;
    case EFFECT_CLOSE_RANGE:
        for (uint64_t i = arguments[0]; !arguments[2] && i <= arguments[1] && i < AGENT_STREAMS; i++) set_stream(i, 0);
        break;
    default: break;
    }
}

/* Microseconds since the last event. Only a call that may have slept is worth asking for. */
static uint64_t elapsed(const struct syscall_row *row)
{
    struct timespec now;
    if (row->buffering != BUFFERING_ALONE && row->buffering != BUFFERING_WAIT) return 0;
    if (agent_ask(SYS_clock_gettime, CLOCK_MONOTONIC, (uintptr_t)&now, 0)) return 0;
    uint64_t time = ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - agent_state.terms.start) / 1000;
    return time - agent_state.account.last_time;
}

/* The next ticks are counted from here. One instruction: the tracer may stop the task anywhere, and set both. */
static void begin_ticks(void)
{
    const int64_t *from = &agent_state.clock.counter;
    int64_t *to = &agent_state.clock.base;
    __asm__ volatile("movsq" : "+S"(from), "+D"(to) : : "memory");
}

/* A program that reads the same again has it in the ring once: what stands there and is equal is referred to. A hint may be wrong,
   or from another time; that the bytes lie in events before this one and are equal is all that counts. */
static bool put_reference(struct buffer *events, const struct iovec *range, uint32_t hint)
{
    uint32_t begun = agent_state.account.size;
    if (hint > begun || range->iov_len > begun - hint) return false;
    if (!agent_equals((const uint8_t *)AGENT_RING + hint, range->iov_base, range->iov_len)) return false;
    wire_reference(events, begun - hint, range->iov_len);
    return true;
}

static uint32_t *hint_of(const struct iovec *range)
{
    uint64_t key = (uintptr_t)range->iov_base + range->iov_len;
    return &agent_state.hints[(key >> 4 ^ key >> 12) % HINTS];
}

static bool put_outputs(struct buffer *events, const struct ranges *ranges)
{
    wire_array(events, 2 * ranges->count);
    for (size_t i = 0; i < ranges->count; i++) {
        const struct iovec *range = &ranges->item[i];
        uint32_t *hint = range->iov_len >= REFERENCE_LEAST ? hint_of(range) : NULL;
        wire_unsigned(events, (uintptr_t)range->iov_base);
        if (hint && put_reference(events, range, *hint)) continue;
        uint8_t *place = wire_binary_reserve(events, range->iov_len);
        if (!place || agent_copy(place, range->iov_base, range->iov_len)) return false;
        if (hint) *hint = (uint32_t)(place - (const uint8_t *)AGENT_RING);
    }
    return !ranges->failed && !events->failed;
}

/* Appends the event to the ring; false: it does not fit, or not all that was written can be read. */
static bool put_call(const struct syscall_row *row, const struct call_start *start, uint64_t delta)
{
    volatile struct agent_account *account = &agent_state.account;
    struct buffer events = {(uint8_t *)AGENT_RING + account->size, 0, agent_state.terms.ring_bytes - account->size, false};
    struct ranges ranges = {0};
    uint8_t stream = row->effect == EFFECT_WRITE && start->result > 0 ? stream_of(start->arguments[row->effect_arg]) : 0;
    wire_head(&events, EVENT_SYSCALL, agent_state.terms.task, delta, stream ? 7 : 6);
    wire_call_start(&events, start);
    if (row->replay != REPLAY_REFUSE) transfer_outputs(0, row, start->arguments, start->result, &ranges);
    if (!put_outputs(&events, &ranges)) return false;
    if (stream) wire_unsigned(&events, stream);
    if (events.failed) return false;
    account->last_time += delta;
    if (is_own_call(start->number)) {
        account->own++;
        account->own_at = agent_state.clock.counter;
    }
    begin_ticks();
    account->filled = (struct agent_account){.size = account->size + (uint32_t)events.size, .count = account->count + 1}.filled;
    return true;
}

static bool record(struct agent_frame *frame, uint64_t site)
{
    if (agent_state.terms.attention || agent_state.account.count >= agent_state.terms.budget) return false;
    uint64_t number = (uint32_t)frame->rax;
    uint64_t arguments[6] = {frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9};
    const struct syscall_row *row = row_of(number, arguments);
    if (!row || row->buffering == BUFFERING_NEVER) return false;
    narrow_arguments(row, arguments);
    if (is_own_call(number) && agent_state.account.own >= agent_state.terms.own_budget) return false;
    if (!may_call(row, number, arguments)) return false;
    struct buffer inputs = {agent_state.scratch, 0, sizeof agent_state.scratch, false};
    size_t pairs = row->in_count ? transfer_inputs(0, row, arguments, &inputs) : 0;
    if (inputs.failed || opens_memory(row, &inputs)) return false;
    agent_state.inputs_size = inputs.size;
    agent_state.input_pairs = pairs;
    /* These may be overwritten by the old ones. */
    uint64_t set = 0;
    struct kernel_sigaction action = {0};
    if (number == SYS_rt_sigprocmask) tracee_read(0, arguments[1], &set, sizeof set);
    if (number == SYS_rt_sigaction && arguments[1]) tracee_read(0, arguments[1], &action, sizeof action);
    int64_t result = make_call(row, frame);
    if (result == CALLED_OFF) return false;
    follow(row, number, arguments, result);
    if (number == SYS_rt_sigprocmask && result == 0) follow_mask(arguments, set);
    if (number == SYS_rt_sigaction && result == 0) follow_action(arguments, &action);
    if (number == SYS_set_tid_address) agent_state.account.clear_child_tid = arguments[0];
    if (number == SYS_set_robust_list && result == 0) agent_state.account.robust_list = arguments[0];
    frame->rax = (uint64_t)result;
    const struct call_start start = {number, site, result, arguments, row->argument_count, &inputs, pairs};
    uint64_t delta = elapsed(row);
    /* What is there of its output behind a bad page is the recorder's to find. */
    bool plain = result != -EFAULT;
    if (plain && put_call(row, &start, delta)) return true;
    if (plain && agent_state.account.size) {
        agent_flush();
        if (put_call(row, &start, delta)) return true;
    }
    frame->rax = number; /* what the recorder reads it from */
    agent_state.account.result = result;
    agent_report();
    frame->rax = (uint64_t)result;
    return true;
}

static bool is_equal(uint64_t address, const uint8_t *recorded, size_t size)
{
    if (size > sizeof agent_state.scratch || tracee_read(0, address, agent_state.scratch, size) != size) return false;
    return memcmp(agent_state.scratch, recorded, size) == 0;
}

static bool has_inputs(struct cursor cursor)
{
    size_t count = read_array(&cursor), size;
    for (size_t i = 0; i + 1 < count; i += 2) {
        uint64_t address = read_unsigned(&cursor);
        const uint8_t *recorded = read_binary(&cursor, &size);
        if (cursor.bad || !is_equal(address, recorded, size)) return false;
    }
    return !cursor.bad;
}

static bool feed_outputs(struct cursor cursor, const uint8_t *event)
{
    const struct origin origin = {(const uint8_t *)AGENT_RING, event};
    size_t count = read_array(&cursor), size;
    for (size_t i = 0; i + 1 < count; i += 2) {
        uint64_t address = read_unsigned(&cursor);
        const uint8_t *data = read_output(&cursor, &origin, &size);
        bool ours = address < AGENT_END && address + size > GATE_PAGE;
        if (cursor.bad || !data || address >= ADDRESS_LIMIT || ours || agent_copy((void *)address, data, size)) return false;
    }
    return !cursor.bad;
}

static int64_t make_through_gate(void *maker, uint64_t number, const uint64_t arguments[6])
{
    (void)maker;
    if (!spares(number, arguments, GATE_PAGE, AGENT_END)) return -EPERM;
    return agent_repeat(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

/* Takes the next offered event if it is this call, else leaves it all to the tracer, which says what is wrong. */
static bool replay(struct agent_frame *frame, uint64_t site)
{
    struct agent_account *account = &agent_state.account;
    if (account->consumed >= account->size) return false;
    const uint8_t *ring = (const uint8_t *)AGENT_RING, *event = ring + account->consumed;
    struct cursor cursor = {event, ring + account->size, false};
    struct head head = read_head(&cursor);
    struct call call = read_call(&cursor, head.items);
    uint64_t arguments[6] = {frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9};
    if (cursor.bad || head.kind != EVENT_SYSCALL || call.number != (uint32_t)frame->rax || call.site != site) return false;
    narrow_arguments(row_of(call.number, arguments), arguments);
    for (size_t i = 0; i < call.argument_count; i++)
        if (arguments[i] != call.arguments[i]) return false;
    const struct syscall_row *row = row_of(call.number, arguments);
    if (!has_inputs(call.inputs)) return false;
    if (row->buffering == BUFFERING_MEMORY && !repeat_call(&call, make_through_gate, NULL)) return false;
    if (!feed_outputs(call.outputs, event)) return false;
    frame->rax = (uint64_t)call.result;
    account->consumed = (uint64_t)(cursor.at - ring);
    account->consumed_count++;
    begin_ticks();
    return true;
}

void agent_hook(struct agent_frame *frame)
{
    uint64_t after = frame->after, site = *(const uint64_t *)(after - STUB_SITE);
    bool done = agent_state.terms.mode == AGENT_REPLAYS ? replay(frame, site) : record(frame, site);
    agent_state.target = done ? after : after - SYSCALL_INSTRUCTION_BYTES;
    /* The instruction leaves its own end in rcx. */
    if (done) frame->after = site;
}
