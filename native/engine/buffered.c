/* The recorder's side of the agent: what it has recorded, what it is told, and the calls that it leaves to the tracer. */
#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../agent/layout.h"
#include "event.h"

enum { LOOK_NANOSECONDS = 2 * 1000 * 1000 };

static uint64_t behind(uint32_t offset) { return AGENT_TEXT + offset + SYSCALL_INSTRUCTION_BYTES; }

bool recorder_install(struct recorder *recorder, struct task *task, uint64_t near)
{
    if (task->group->disposition[SIGSYS] != DISPOSITION_DEFAULT) return false;
    return recorder->agent.data && space_install(task->group->space, task->turn.tid, &recorder->agent, near) == 0;
}

bool note_place(struct task *task)
{
    struct user_regs_struct registers;
    task->in_agent = runs_free(task) && tracee_get_registers(task->turn.tid, &registers) == 0 && registers.rip >= AGENT_TEXT && registers.rip < AGENT_TICKS;
    return task->in_agent;
}

bool runs_own_code(const struct task *task) { return !task->in_call && !task->redirected; }

bool runs_free(const struct task *task) { return task->group->space->dispatch && runs_own_code(task); }

static void take_actions(struct task *task, uint64_t changed)
{
    struct kernel_sigaction actions[AGENT_SIGNALS];
    if (tracee_read(task->turn.tid, AGENT_STATE + offsetof(struct agent_state, actions), actions, sizeof actions) != sizeof actions) return;
    for (int signal = 1; signal < AGENT_SIGNALS; signal++)
        if (changed & UINT64_C(1) << (signal - 1)) note_action(task->group, signal, &actions[signal]);
}

/* What the agent must leave to the tracer. */
static void tell_code(struct space *space, pid_t tid)
{
    struct {
        uint64_t count;
        struct agent_range code[AGENT_CODES];
    } told = {.count = space->code_count};
    _Static_assert(offsetof(struct agent_state, code) - offsetof(struct agent_state, code_count) == sizeof told.count, "neighbours");
    for (size_t i = 0; i < space->code_count && i < AGENT_CODES; i++) told.code[i] = (struct agent_range){space->code[i].start, space->code[i].end};
    space->code_changed = !tracee_write(tid, AGENT_STATE + offsetof(struct agent_state, code_count), &told, sizeof told);
}

static uint32_t ticks_between(int64_t earlier, int64_t later)
{
    return earlier - later < AT_SLEEP ? (uint32_t)(earlier - later) : AT_SLEEP - 1;
}

/* Events refer to what stands before them in the ring: in a chunk that it goes on in, without anything between. Otherwise their
   outputs are written out. */
static bool take_ring(struct recorder *recorder, const struct task *task, uint64_t drained, uint64_t size)
{
    struct space *space = task->group->space;
    if (space->chunk == recorder->flushed_count && space->joins_at == recorder->events.size) {
        uint8_t *data = buffer_extend(&recorder->events, size - drained);
        space->joins_at = recorder->events.size;
        return data && tracee_read(task->turn.tid, AGENT_RING + drained, data, size - drained) == size - drained;
    }
    struct buffer ring = {0};
    uint8_t *data = buffer_extend(&ring, size);
    bool taken = data && tracee_read(task->turn.tid, AGENT_RING, data, size) == size;
    struct cursor cursor = {data + drained, data + size, !taken};
    while (!cursor.bad && cursor.at < cursor.end) append_expanded(&recorder->events, &cursor, data);
    buffer_free(&ring);
    return !cursor.bad;
}

/* Takes over the events in the ring of a task that has stopped, or been preempted by us: what is whole has been counted. */
void drain(struct recorder *recorder, struct task *task)
{
    struct space *space = task->group ? task->group->space : NULL;
    struct {
        struct agent_clock clock;
        struct agent_account account;
    } present;
    _Static_assert(offsetof(struct agent_state, clock) + sizeof present == offsetof(struct agent_state, account) + sizeof present.account, "neighbours");
    if (!space || !space->agent || space->told != task->turn.tid) return;
    if (tracee_read(task->turn.tid, AGENT_STATE + offsetof(struct agent_state, clock), &present, sizeof present) != sizeof present) return;
    const struct agent_account account = present.account;
    if (space->ticks) note_clock(task, &present.clock);
    uint64_t drained = space->account.size;
    if (account.size > AGENT_RING_LIMIT || account.size < drained) return;
    if (account.streams_changed)
        tracee_read(task->turn.tid, AGENT_STATE + offsetof(struct agent_state, terms.streams), task->descriptors->stream, STREAM_DESCRIPTORS);
    task->mask = account.mask;
    task->clear_child_tid = account.clear_child_tid;
    task->robust_list = account.robust_list;
    if (account.own > space->account.own) {
        turn_passes(&task->turn, (uint32_t)(account.own - space->account.own));
        if (space->ticks) task->turn.ticks = ticks_between(account.own_at, present.clock.counter);
    }
    if (account.actions_changed) take_actions(task, account.actions_changed);
    if (account.size > drained) {
        if (!take_ring(recorder, task, drained, account.size)) return;
        recorder->event_count += account.count - space->account.count;
        recorder->last_time = account.last_time;
        task->at_boundary = false;
    }
    space->account = account;
}

/* What the agent must know before a task runs in its memory. */
bool tell(struct recorder *recorder, struct task *task)
{
    struct space *space = task->group->space;
    struct {
        struct agent_account account;
        struct agent_terms terms;
    } told = {{.mask = task->mask, .clear_child_tid = task->clear_child_tid, .robust_list = task->robust_list, .last_time = recorder->last_time}, {.mode = AGENT_RECORDS}};
    _Static_assert(offsetof(struct agent_state, account) + sizeof told == offsetof(struct agent_state, terms) + sizeof told.terms, "neighbours");
    struct agent_terms *terms = &told.terms;
    if (space->code_changed) tell_code(space, task->turn.tid);
    terms->task = task->turn.tid;
    terms->alone = first_task(recorder) == task && !next_task(task);
    terms->ring_bytes = recorder->ring_bytes;
    terms->start = (uint64_t)recorder->start.tv_sec * 1000000000u + (uint64_t)recorder->start.tv_nsec;
    terms->watched_count = (uint32_t)recorder->watched_count;
    for (size_t i = 0; i < recorder->watched_count && i < AGENT_WATCHED; i++)
        terms->watched[i] = (struct agent_file){recorder->watched[i].device, recorder->watched[i].inode};
    for (unsigned i = 1; i < 3; i++) {
        terms->stream[i] = (struct agent_file){recorder->own_stream[i].device, recorder->own_stream[i].inode};
        if (recorder->sleeping_writer[i] && terms->watched_count++ < AGENT_WATCHED) terms->watched[terms->watched_count - 1] = terms->stream[i];
    }
    memcpy(terms->streams, task->descriptors->stream, sizeof terms->streams);
    terms->budget = recorder->checksum_every ? recorder->next_checksum - recorder->event_count : UINT64_MAX;
    terms->own_budget = terms->alone ? UINT64_MAX : scheduler_allowance(&recorder->scheduler);
    terms->attention = task->held_count || task->hurried || !space->dispatch || task->group->filtered || space->pending;
    uint64_t ticks = terms->alone ? 0 : scheduler_ticks(&recorder->scheduler);
    if (ticks) ask_for_tick(task, ticks);
    space->told = task->turn.tid;
    wind_clock(task);
    if (task->in_agent) return tracee_write(task->turn.tid, AGENT_STATE + offsetof(struct agent_state, terms), terms, sizeof *terms);
    space->account = told.account;
    space->chunk = recorder->flushed_count;
    space->joins_at = recorder->events.size;
    return tracee_write(task->turn.tid, AGENT_STATE + offsetof(struct agent_state, account), &told, sizeof told);
}

static void set_attention(const struct task *task, uint32_t attention)
{
    tracee_write(task->turn.tid, AGENT_STATE + offsetof(struct agent_state, terms.attention), &attention, sizeof attention);
}

/* Before tasks go on without us: what they call then stops nowhere. */
void silence(struct task *task)
{
    struct space *space = task->group ? task->group->space : NULL;
    if (space && space->agent) set_attention(task, ATTENTION);
}

/* Where the agent is about to begin a call, it looks for attention again. */
static void begin_anew(const struct recorder *recorder, const struct task *task, struct user_regs_struct *registers)
{
    const struct agent_places *places = &recorder->agent.places;
    if (registers->rip < AGENT_TEXT + places->checks || registers->rip > AGENT_TEXT + places->calls) return;
    registers->rip = AGENT_TEXT + places->checks;
    tracee_set_registers(task->turn.tid, registers);
}

/* A signal is held: the agent must not go to sleep now, nor buffer on. */
void call_attention(const struct recorder *recorder, struct task *task, struct user_regs_struct *registers)
{
    if (!runs_free(task)) return;
    set_attention(task, ATTENTION);
    begin_anew(recorder, task, registers);
}

/* What the call had read before it was made. */
static bool read_inputs(struct task *task)
{
    struct {
        uint64_t size, pairs;
    } inputs;
    uint64_t place = AGENT_STATE + offsetof(struct agent_state, inputs_size);
    task->inputs.size = task->input_pairs = 0;
    if (tracee_read(task->turn.tid, place, &inputs, sizeof inputs) != sizeof inputs) return false;
    if (inputs.size > sizeof ((struct agent_state *)0)->scratch) return false;
    uint8_t *to = buffer_extend(&task->inputs, inputs.size);
    task->input_pairs = inputs.pairs;
    return !inputs.size || (to && tracee_read(task->turn.tid, AGENT_STATE + offsetof(struct agent_state, scratch), to, inputs.size) == inputs.size);
}

/* The program's registers, while the agent has them. */
static bool own_registers(const struct task *task, const struct user_regs_struct *present, struct user_regs_struct *own)
{
    struct agent_frame frame;
    if (tracee_read(task->turn.tid, AGENT_STATE + AGENT_FRAME_OFFSET, &frame, sizeof frame) != sizeof frame) return false;
    *own = *present;
    own->r15 = frame.r15, own->r14 = frame.r14, own->r13 = frame.r13, own->r12 = frame.r12, own->rbp = frame.rbp, own->rbx = frame.rbx;
    own->r9 = frame.r9, own->r8 = frame.r8, own->r10 = frame.r10, own->rdx = frame.rdx, own->rsi = frame.rsi, own->rdi = frame.rdi;
    own->rax = frame.rax, own->rip = own->rcx = frame.after, own->rsp = frame.rsp, own->r11 = own->eflags = frame.flags;
    own->orig_rax = (uint64_t)-1;
    return true;
}

/* Makes a call of the agent's one that was traced: it was interrupted, or its event is too large for the ring. The task then
   stands behind it in its own code. */
static enum request adopt(struct recorder *recorder, struct task *task, const struct user_regs_struct *registers, int64_t result)
{
    struct user_regs_struct own;
    if (!own_registers(task, registers, &own)) return REQUEST_FAILED;
    task->site = space_site(task->group->space, own.rip);
    own.rcx = task->site;
    own.orig_rax = own.rax;
    own.rax = (uint64_t)-ENOSYS;
    task->entry = own;
    task->in_agent = false;
    begin_call(task);
    if (!read_inputs(task)) return REQUEST_FAILED;
    own.rax = (uint64_t)result;
    if (tracee_set_registers(task->turn.tid, &own)) return REQUEST_FAILED;
    return leave_call(recorder, task);
}

/* An epoll_wait that the agent has made only to see whether there is something: it has not come to its own yet. */
static bool is_probe(const struct task *task, const struct user_regs_struct *registers)
{
    struct user_regs_struct own;
    if (registers->orig_rax != SYS_epoll_wait || registers->rax != 0 || (int)registers->r10 != 0) return false;
    return own_registers(task, registers, &own) && (int)own.r10 != 0;
}

/* A task that a signal or we have found in the kernel, in a call of the agent's. */
enum request adopt_interrupted(struct recorder *recorder, struct task *task)
{
    struct user_regs_struct registers;
    if (!note_place(task) || tracee_get_registers(task->turn.tid, &registers)) return REQUEST_NONE;
    if (registers.rip != behind(recorder->agent.places.calls) || (int64_t)registers.orig_rax < 0) return REQUEST_NONE;
    if (is_probe(task, &registers)) {
        registers.rip = AGENT_TEXT + recorder->agent.places.checks;
        registers.rax = registers.orig_rax;
        registers.orig_rax = (uint64_t)-1;
        return tracee_set_registers(task->turn.tid, &registers) ? REQUEST_FAILED : REQUEST_NONE;
    }
    return adopt(recorder, task, &registers, (int64_t)registers.rax);
}

static bool has_ended(const struct recorder *recorder, uint64_t rip)
{
    return rip >= AGENT_TEXT + recorder->agent.places.ends && rip < AGENT_TEXT + recorder->agent.places.ended;
}

/* The task runs to its next stop, which is looked after. False: it is to be handled as any other. */
static bool run_hook(struct recorder *recorder, struct task *task, struct user_regs_struct *registers)
{
    int status;
    set_attention(task, ATTENTION_LEAVE);
    if (ptrace(PTRACE_CONT, task->turn.tid, 0, 0) == -1 || !tracee_wait(task->turn.tid, &status)) return false;
    task->status = status;
    if (!WIFSTOPPED(status) || status >> 16 == PTRACE_EVENT_EXIT || tracee_get_registers(task->turn.tid, registers)) return false;
    int signal = status >> 16 ? 0 : WSTOPSIG(status);
    if (signal == SIGSYS && registers->rip == behind(recorder->agent.places.flush)) {
        drain(recorder, task);
        task->in_agent = false;
        return tell(recorder, task);
    }
    if (signal == SIGSEGV || signal == SIGBUS) return recover_copy(recorder, task, signal);
    return signal == 0 || has_ended(recorder, registers->rip);
}

/* Brings a task out of the agent, so that it can be stopped or let go: no other must find it there. What it has been told of a
   signal stays so. TASK_PENDING, if it stopped for something else on the way. */
enum request leave_agent(struct recorder *recorder, struct task *task)
{
    static const uint64_t ours = UINT64_C(1) << (SIGSYS - 1) | UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1);
    struct user_regs_struct registers, own;
    siginfo_t info;
    uint64_t kept, mask;
    if (!note_place(task) || tracee_get_registers(task->turn.tid, &registers)) return REQUEST_NONE;
    bool signalled = ptrace(PTRACE_GETSIGINFO, task->turn.tid, 0, &info) == 0;
    if (ptrace(PTRACE_GETSIGMASK, task->turn.tid, sizeof kept, &kept) == -1) return REQUEST_NONE;
    mask = kept | ~ours;
    ptrace(PTRACE_SETSIGMASK, task->turn.tid, sizeof mask, &mask);
    begin_anew(recorder, task, &registers);
    enum request request = REQUEST_NONE;
    while (!has_ended(recorder, registers.rip)) {
        if (run_hook(recorder, task, &registers)) continue;
        if (WIFSTOPPED(task->status) && registers.rip == behind(recorder->agent.places.report)) {
            drain(recorder, task);
            request = adopt(recorder, task, &registers, task->group->space->account.result);
            break;
        }
        task->turn.state = TASK_PENDING;
        return REQUEST_NONE;
    }
    if (has_ended(recorder, registers.rip)) {
        drain(recorder, task);
        if (!own_registers(task, &registers, &own)) return REQUEST_FAILED;
        tracee_read(task->turn.tid, AGENT_STATE + offsetof(struct agent_state, target), &own.rip, sizeof own.rip);
        if (tracee_set_registers(task->turn.tid, &own)) return REQUEST_FAILED;
        task->in_agent = false;
    }
    ptrace(PTRACE_SETSIGMASK, task->turn.tid, sizeof kept, &kept);
    if (signalled) ptrace(PTRACE_SETSIGINFO, task->turn.tid, 0, &info);
    return request;
}

/* Others wait: the agent stops at its next call or tick, or is interrupted in the call that it sleeps in. To wind the clock the
   task must stand still. */
void end_slice(struct task *task)
{
    char state = tracee_state(task->turn.tid);
    silence(task);
    task->overdue = task->hurried ? task->overdue + 1 : 0;
    task->hurried = true;
    /* Ever more seldom: what computes for long is not to be slowed down. */
    bool interrupted = state == 'R' && (task->overdue & (task->overdue + 1)) == 0;
    /* What ticks stops by itself soon, mostly, and steps take milliseconds. */
    task->looked = interrupted && (task->overdue || !is_clocked(task));
    if (interrupted || state == 'S' || state == 'D') ptrace(PTRACE_INTERRUPT, task->turn.tid, 0, 0);
}

void look_at(struct task *task)
{
    read_clock(&task->held_since);
    task->looked = true;
    ptrace(PTRACE_INTERRUPT, task->turn.tid, 0, 0);
}

static void note_tick(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    if (info->si_code == SI_TIMER) ((struct recorder *)info->si_value.sival_ptr)->ticked = 1;
}

/* The agent makes calls without a stop, and a slice ends at a stop: while several tasks live, waiting for one is interrupted
   to see whether it is to make room. */
void tick_slices(struct recorder *recorder, bool tick)
{
    if (recorder->ticking == tick) return;
    recorder->ticking = tick;
    if (!tick) {
        timer_delete(recorder->slices);
        return;
    }
    struct sigaction action = {.sa_sigaction = note_tick, .sa_flags = SA_SIGINFO};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG, .sigev_value.sival_ptr = recorder};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    const struct itimerspec every = {{.tv_nsec = LOOK_NANOSECONDS}, {.tv_nsec = LOOK_NANOSECONDS}};
    recorder->ticking = sigaction(SIGURG, &action, NULL) == 0 && timer_create(CLOCK_MONOTONIC, &event, &recorder->slices) == 0;
    if (recorder->ticking) timer_settime(recorder->slices, 0, &every, NULL);
}

/* The program has its own use for SIGSYS: its tasks stop at every call from now on. */
void turn_off(struct recorder *recorder, struct task *task)
{
    if (!task->group || !task->group->space->dispatch) return;
    task->group->space->dispatch = false;
    space_dispatch(task->turn.tid, &recorder->agent, false);
}

/* A call that is not the agent's: let it run at the agent's instruction, where it stops at entry and exit. */
static enum request redirect(struct recorder *recorder, struct task *task, struct user_regs_struct *registers)
{
    task->entry = *registers;
    if (is_compatibility_call(task)) {
        recorder->subject = task;
        task->in_call = true;
        return REQUEST_COMPATIBILITY;
    }
    if (!task->group->space->dispatch) space_dispatch(task->turn.tid, &recorder->agent, false);
    task->return_to = registers->rip;
    registers->rip = AGENT_TEXT + recorder->agent.places.traced;
    registers->orig_rax = (uint64_t)-1;
    task->redirected = true;
    if (task->mask & UINT64_C(1) << (SIGSYS - 1)) ptrace(PTRACE_SETSIGMASK, task->turn.tid, sizeof task->mask, &task->mask);
    if (tracee_set_registers(task->turn.tid, registers)) return REQUEST_FAILED;
    deliver_held(recorder, task);
    return REQUEST_NONE;
}

/* The opposite of `redirect`: the task makes its call again later. */
bool call_off(struct task *task)
{
    struct user_regs_struct registers;
    if (!task->redirected || tracee_get_registers(task->turn.tid, &registers)) return false;
    registers.rip = task->return_to - SYSCALL_INSTRUCTION_BYTES;
    task->redirected = false;
    return tracee_set_registers(task->turn.tid, &registers) == 0;
}

enum request stop_by_dispatch(struct recorder *recorder, struct task *task)
{
    struct user_regs_struct registers;
    if (tracee_get_registers(task->turn.tid, &registers)) return REQUEST_NONE;
    if (registers.rip == behind(recorder->agent.places.flush)) return REQUEST_NONE;
    if (registers.rip == behind(recorder->agent.places.report)) return adopt(recorder, task, &registers, task->group->space->account.result);
    return redirect(recorder, task, &registers);
}

/* At the entry of a call: where it is as the program sees it, and where it returns to. */
bool settle_entry(struct task *task)
{
    struct space *space = task->group->space;
    uint64_t entry = task->entry.rip;
    if (task->redirected) task->entry.rip = task->return_to;
    task->redirected = false;
    task->site = space_site(space, task->entry.rip);
    if (task->entry.rip == entry && task->site == entry) return true;
    task->entry.rcx = task->site;
    return tracee_set_registers(task->turn.tid, &task->entry) == 0;
}

/* A fault on a pointer of the program's, in the agent's hands. */
bool recover_copy(const struct recorder *recorder, struct task *task, int signal)
{
    struct user_regs_struct registers;
    if (!runs_free(task) || tracee_get_registers(task->turn.tid, &registers)) return false;
    if (!leave_copy(&recorder->agent, &registers)) return false;
    task->in_agent = true;
    if (tracee_set_registers(task->turn.tid, &registers)) return false;
    undo_force(recorder, task, signal);
    return true;
}

static bool has_peer_at(const struct recorder *recorder, const struct task *task, uint64_t site)
{
    for (const struct task *other = first_task(recorder); other; other = next_task(other)) {
        if (other == task || !other->group || other->group->space != task->group->space) continue;
        bool known = other->started && (other->in_call || other->turn.state == TASK_READY);
        if (!known || (other->in_call ? other->site : other->exit.rip) == site) return true;
    }
    return false;
}

static void patch(struct recorder *recorder, const struct task *task, int memory, uint64_t site)
{
    if (!has_peer_at(recorder, task, site)) recorder->extra_pairs += space_patch(task->group->space, memory, site, &recorder->extra);
}

static void patch_fresh(struct recorder *recorder, const struct task *task, int memory, struct code *code)
{
    for (size_t i = 0; code->fresh && i < code->sites->count; i++) {
        const struct site *site = &code->sites->item[i];
        if (site->used) patch(recorder, task, memory, code->start + site->offset + SYSCALL_INSTRUCTION_BYTES);
    }
    code->fresh = false;
}

static bool has_fresh(const struct space *space)
{
    for (size_t i = 0; i < space->code_count; i++)
        if (space->code[i].fresh) return true;
    return false;
}

void patch_sites(struct recorder *recorder, struct task *task)
{
    struct space *space = task->group->space;
    bool buffered = task->row && task->row->buffering != BUFFERING_NEVER && (task->call == CALL_PLAIN || task->call == CALL_REFUSED);
    bool own = buffered && task->exit.rip == task->site;
    if (!space->agent || (!own && !has_fresh(space))) return;
    int memory = tracee_open_memory(task->turn.tid, O_RDWR);
    if (memory < 0) return;
    if (own) patch(recorder, task, memory, task->site);
    for (size_t i = 0; i < space->code_count; i++) patch_fresh(recorder, task, memory, &space->code[i]);
    close(memory);
    uint64_t moved = space_moved(space, task->exit.rip);
    if (moved == task->exit.rip) return;
    task->exit.rip = moved;
    tracee_set_registers(task->turn.tid, &task->exit);
}

/* Has an interpreter count that has been mapped and relocated since. */
void patch_clock(struct recorder *recorder, struct task *task)
{
    struct space *space = task->group->space;
    if (space->pending) recorder->extra_pairs += space_patch_places(space, task->turn.tid, &recorder->extra);
}
