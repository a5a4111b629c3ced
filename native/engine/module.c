/* The Python face of the engine: `pyrr_debugger._engine`. Thin: it converts values, and lets go of the GIL while the
   loops run. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cpuid.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <sys/wait.h>

#include "checkpoint.h"
#include "checksum.h"
#include "events.h"
#include "index.h"
#include "live.h"
#include "recorder.h"
#include "offer.h"
#include "pack.h"
#include "replayer.h"
#include "step.h"
#include "targets.h"
#include "transfer.h"
#include "../stub/gate.h"

static PyObject *os_error(int error)
{
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *bytes_of(const void *data, size_t size) { return PyBytes_FromStringAndSize(data, (Py_ssize_t)size); }

static PyObject *arguments_of(const uint64_t arguments[6])
{
    return Py_BuildValue("(KKKKKK)", arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

/* The content of a buffer, which is freed. */
static PyObject *bytes_from(struct buffer *buffer)
{
    PyObject *result = buffer->failed ? PyErr_NoMemory() : bytes_of(buffer->data, buffer->size);
    buffer_free(buffer);
    return result;
}

/* --- memory and registers of any traced task --- */

static PyObject *module_pack(PyObject *self, PyObject *value)
{
    (void)self;
    struct buffer packed = {0};
    if (pack(&packed, value)) return bytes_from(&packed);
    buffer_free(&packed);
    return NULL;
}

static PyObject *module_read(PyObject *self, PyObject *args)
{
    (void)self;
    int pid;
    unsigned long long address;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "iKn", &pid, &address, &size)) return NULL;
    if (size < 0) return PyErr_Format(PyExc_ValueError, "negative size");
    PyObject *data = PyBytes_FromStringAndSize(NULL, size);
    if (!data) return NULL;
    size_t got = tracee_read(pid, address, PyBytes_AS_STRING(data), (size_t)size);
    if (got != (size_t)size && _PyBytes_Resize(&data, (Py_ssize_t)got)) return NULL;
    return data;
}

static PyObject *module_write(PyObject *self, PyObject *args)
{
    (void)self;
    int pid;
    unsigned long long address;
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "iKy*", &pid, &address, &data)) return NULL;
    bool own = address < GATE_PAGE + GATE_BYTES && address + (size_t)data.len > GATE_PAGE;
    bool written = !own && tracee_write(pid, address, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    if (!written) return os_error(EFAULT);
    Py_RETURN_NONE;
}

static PyObject *module_registers(PyObject *self, PyObject *args)
{
    (void)self;
    int tid;
    struct user_regs_struct registers;
    if (!PyArg_ParseTuple(args, "i", &tid)) return NULL;
    if (tracee_get_registers(tid, &registers)) return os_error(errno);
    return bytes_of(&registers, sizeof registers);
}

static PyObject *module_set_registers(PyObject *self, PyObject *args)
{
    (void)self;
    int tid;
    Py_buffer registers, xstate;
    if (!PyArg_ParseTuple(args, "iy*y*", &tid, &registers, &xstate)) return NULL;
    int error = 0;
    if (registers.len != sizeof(struct user_regs_struct)) error = EINVAL;
    else if (xstate.len && tracee_set_xstate(tid, xstate.buf, (size_t)xstate.len)) error = errno;
    else if (tracee_set_registers(tid, registers.buf)) error = errno;
    PyBuffer_Release(&registers);
    PyBuffer_Release(&xstate);
    if (error) return os_error(error);
    Py_RETURN_NONE;
}

static PyObject *module_xstate(PyObject *self, PyObject *args)
{
    (void)self;
    int tid, settle = 0;
    static uint8_t area[XSTATE_BYTES];
    size_t size = sizeof area;
    if (!PyArg_ParseTuple(args, "i|p", &tid, &settle)) return NULL;
    if (settle ? tracee_settle_xstate(tid, area, &size, true) : tracee_get_xstate(tid, area, &size)) return os_error(errno);
    return bytes_of(area, size);
}

static PyObject *module_checksum(PyObject *self, PyObject *args)
{
    (void)self;
    int pid, sparse;
    unsigned long long start, end;
    if (!PyArg_ParseTuple(args, "iKKp", &pid, &start, &end, &sparse)) return NULL;
    struct buffer sums = {0};
    bool complete;
    Py_BEGIN_ALLOW_THREADS;
    complete = checksum_range(pid, start, end, sparse != 0, &sums) && !sums.failed;
    Py_END_ALLOW_THREADS;
    PyObject *result = complete ? bytes_of(sums.data, sums.size) : os_error(EFAULT);
    buffer_free(&sums);
    return result;
}

static PyObject *module_cpuid(PyObject *self, PyObject *args)
{
    (void)self;
    unsigned leaf, subleaf, a, b, c, d;
    if (!PyArg_ParseTuple(args, "II", &leaf, &subleaf)) return NULL;
    __cpuid_count(leaf, subleaf, a, b, c, d);
    return Py_BuildValue("(IIII)", a, b, c, d);
}

static PyObject *module_xgetbv(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return PyLong_FromUnsignedLongLong((uint64_t)high << 32 | low);
}

/* --- Recorder --- */

enum { SPARES = 8 }; /* as many chunks as may wait to be written (trace_writer.py) */

typedef struct {
    PyObject_HEAD
    struct recorder state;
    PyObject *agent; /* the bytes of the image */
    PyTypeObject *chunk_type;
    struct buffer spares[SPARES]; /* of chunks that are written */
    size_t spare_count;
} Recorder;

/* Events on their way to the disk, with the memory they were written to. It goes back to the recorder in the end: fresh
   memory costs a fault for every page. */
typedef struct {
    PyObject_HEAD
    Recorder *recorder;
    struct buffer buffer;
} Chunk;

static int Chunk_get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    Chunk *chunk = (Chunk *)self;
    return PyBuffer_FillInfo(view, self, chunk->buffer.data, (Py_ssize_t)chunk->buffer.size, 1, flags);
}

static void Chunk_dealloc(PyObject *self)
{
    Chunk *chunk = (Chunk *)self;
    PyTypeObject *type = Py_TYPE(self);
    Recorder *recorder = chunk->recorder;
    chunk->buffer.size = 0;
    if (recorder->spare_count < SPARES) recorder->spares[recorder->spare_count++] = chunk->buffer;
    else buffer_free(&chunk->buffer);
    Py_DECREF(chunk->recorder);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot Chunk_slots[] = {
    {Py_tp_dealloc, (void *)Chunk_dealloc},
    {Py_bf_getbuffer, (void *)Chunk_get_buffer},
    {0, NULL},
};

static PyType_Spec Chunk_spec = {"pyrr_debugger._engine.Chunk", sizeof(Chunk), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, Chunk_slots};

/* A list of (task, course, next). */
static int follow_schedule(struct scheduler *scheduler, PyObject *schedule)
{
    PyObject *items = PySequence_Fast(schedule, "a schedule is a list");
    if (!items) return -1;
    size_t count = (size_t)PySequence_Fast_GET_SIZE(items);
    struct decision *list = calloc(count + 1, sizeof *list);
    bool good = list != NULL;
    for (size_t i = 0; good && i < count; i++) {
        unsigned long long course;
        good = PyArg_ParseTuple(PySequence_Fast_GET_ITEM(items, i), "IKI", &list[i].task, &course, &list[i].next);
        list[i].course = course;
    }
    good = good && scheduler_follow(scheduler, list, count);
    free(list);
    Py_DECREF(items);
    if (!good && !PyErr_Occurred()) PyErr_NoMemory();
    return good ? 0 : -1;
}

static int Recorder_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"checksum_every", "wait", "follow_forks", "agent", "seed", "schedule", NULL};
    unsigned long long every;
    int wait, follow_forks;
    PyObject *agent, *seed = Py_None, *schedule = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "KppS|OO", names, &every, &wait, &follow_forks, &agent, &seed, &schedule)) return -1;
    struct recorder *state = &((Recorder *)self)->state;
    recorder_initialise(state);
    Py_XSETREF(((Recorder *)self)->chunk_type, (PyTypeObject *)PyType_FromSpec(&Chunk_spec));
    if (!((Recorder *)self)->chunk_type) return -1;
    if (PyBytes_GET_SIZE(agent)) {
        if (!agent_image_read(&state->agent, (const uint8_t *)PyBytes_AS_STRING(agent), (size_t)PyBytes_GET_SIZE(agent))) {
            os_error(ENOEXEC);
            return -1;
        }
        Py_XSETREF(((Recorder *)self)->agent, Py_NewRef(agent));
    }
    state->checksum_every = state->next_checksum = every;
    state->wait = wait;
    state->follow_forks = follow_forks;
    if (seed != Py_None) scheduler_be_chaotic(&state->scheduler, PyLong_AsUnsignedLongLong(seed));
    if (schedule != Py_None) return follow_schedule(&state->scheduler, schedule);
    return PyErr_Occurred() ? -1 : 0;
}

static void Recorder_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    recorder_free(&((Recorder *)self)->state);
    while (((Recorder *)self)->spare_count) buffer_free(&((Recorder *)self)->spares[--((Recorder *)self)->spare_count]);
    Py_XDECREF(((Recorder *)self)->agent);
    Py_XDECREF(((Recorder *)self)->chunk_type);
    type->tp_free(self);
    Py_DECREF(type);
}

/* A NULL-terminated array of pointers into a list of bytes objects. */
static char **vector_of(PyObject *list)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    char **vector = calloc((size_t)count + 1, sizeof *vector);
    if (!vector) return NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!(vector[i] = PyBytes_AsString(PyList_GET_ITEM(list, i)))) {
            free(vector);
            return NULL;
        }
    return vector;
}

static PyObject *Recorder_spawn(PyObject *self, PyObject *args)
{
    const char *path;
    PyObject *argv, *envp;
    if (!PyArg_ParseTuple(args, "yO!O!", &path, &PyList_Type, &argv, &PyList_Type, &envp)) return NULL;
    char **arguments = vector_of(argv), **environment = vector_of(envp);
    int pid = -ENOMEM;
    if (arguments && environment) pid = recorder_spawn(&((Recorder *)self)->state, path, arguments, environment);
    free(arguments);
    free(environment);
    if (PyErr_Occurred()) return NULL;
    return pid < 0 ? os_error(-pid) : PyLong_FromLong(pid);
}

static PyObject *Recorder_adopt(PyObject *self, PyObject *args)
{
    struct adoption adoption;
    unsigned long long cleared, robust;
    int filtered, undumpable, continues;
    if (!PyArg_ParseTuple(args, "iiiKKppp", &adoption.tid, &adoption.process, &adoption.memory_of, &cleared, &robust, &filtered, &undumpable, &continues)) return NULL;
    adoption.clear_child_tid = cleared;
    adoption.robust_list = robust;
    adoption.filtered = filtered;
    adoption.undumpable = undumpable;
    adoption.continues = continues;
    int error = recorder_adopt(&((Recorder *)self)->state, &adoption);
    if (error) return os_error(error);
    Py_RETURN_NONE;
}

static PyObject *Recorder_adopt_action(PyObject *self, PyObject *args)
{
    int process, signal;
    unsigned long long handler, flags, restorer, mask;
    if (!PyArg_ParseTuple(args, "iiKKKK", &process, &signal, &handler, &flags, &restorer, &mask)) return NULL;
    const struct kernel_sigaction action = {.handler = handler, .flags = flags, .restorer = restorer, .mask = mask};
    if (!recorder_adopt_action(&((Recorder *)self)->state, process, signal, &action)) return os_error(EINVAL);
    Py_RETURN_NONE;
}

static PyObject *Recorder_go_on(PyObject *self, PyObject *args)
{
    unsigned long long position, time;
    if (!PyArg_ParseTuple(args, "KK", &position, &time)) return NULL;
    recorder_go_on(&((Recorder *)self)->state, position, time);
    Py_RETURN_NONE;
}

static PyObject *Recorder_run(PyObject *self, PyObject *args)
{
    (void)args;
    struct recorder *state = &((Recorder *)self)->state;
    enum request request;
    int error;
    do {
        Py_BEGIN_ALLOW_THREADS;
        request = recorder_run(state);
        error = errno;
        Py_END_ALLOW_THREADS;
        if (request == REQUEST_INTERRUPTED && PyErr_CheckSignals()) return NULL;
    } while (request == REQUEST_INTERRUPTED && !state->events.size);
    struct task *subject = state->subject;
    switch (request) {
    case REQUEST_EXEC: return Py_BuildValue("(sii)", "exec", subject->turn.tid, subject->group->pid);
    case REQUEST_MAP:
    case REQUEST_WRITTEN:
    case REQUEST_UNKNOWN:
        return Py_BuildValue("(siiKNL)", request == REQUEST_MAP ? "map" : request == REQUEST_WRITTEN ? "written" : "unknown", subject->turn.tid, subject->group->pid,
                             (unsigned long long)subject->entry.orig_rax, arguments_of(subject->arguments), (long long)state->result);
    case REQUEST_LEFT: return Py_BuildValue("(siii)", "left", subject->turn.tid, subject->group->pid, state->left);
    case REQUEST_AMID:
        return Py_BuildValue("(siiNO)", "amid", subject->turn.tid, subject->group->pid, bytes_of((const char *)state->loop.data, state->loop.size), state->repeats ? Py_True : Py_False);
    case REQUEST_COMPATIBILITY: return Py_BuildValue("(sii)", "compatibility", subject->turn.tid, subject->group->pid);
    case REQUEST_CHECKSUM: return Py_BuildValue("(sii)", "checksum", subject->turn.tid, subject->group->pid);
    case REQUEST_EXITING:
        return Py_BuildValue("(siiIiiii)", "exiting", subject->turn.tid, subject->group->pid, subject->group->tasks, state->exit_status,
                             subject->in_call || subject->fatal_fault ? 1 : 0, subject->fatal_behind ? 1 : 0, subject->group->unsettled ? 1 : 0);
    case REQUEST_FLUSH:
    case REQUEST_INTERRUPTED: return Py_BuildValue("(s)", "flush");
    case REQUEST_DONE: return Py_BuildValue("(si)", "done", state->root_status);
    default: return os_error(error);
    }
}

static PyObject *Recorder_take(PyObject *self, PyObject *args)
{
    (void)args;
    struct recorder *state = &((Recorder *)self)->state;
    Recorder *recorder = (Recorder *)self;
    Chunk *chunk = PyObject_New(Chunk, recorder->chunk_type);
    if (!chunk) return NULL;
    chunk->recorder = (Recorder *)Py_NewRef(self);
    chunk->buffer = state->events;
    state->flushed_bytes += state->events.size;
    state->events = recorder->spare_count ? recorder->spares[--recorder->spare_count] : recorder_room();
    PyObject *data = PyMemoryView_FromObject((PyObject *)chunk);
    Py_DECREF(chunk);
    PyObject *result = data ? Py_BuildValue("(KKNK)", (unsigned long long)state->flushed_count,
                                            (unsigned long long)(state->event_count - state->flushed_count), data,
                                            (unsigned long long)state->last_time) : NULL;
    if (!result) return NULL;
    recorder_begin_chunk(state);
    return result;
}

static PyObject *Recorder_emit(PyObject *self, PyObject *args)
{
    int kind, task;
    PyObject *items;
    if (!PyArg_ParseTuple(args, "iiO!", &kind, &task, &PyTuple_Type, &items)) return NULL;
    struct recorder *state = &((Recorder *)self)->state;
    struct buffer packed = {0}; /* apart: what cannot be packed must not leave half an event */
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        if (pack(&packed, PyTuple_GET_ITEM(items, i))) continue;
        buffer_free(&packed);
        return NULL;
    }
    recorder_begin_event(state, (unsigned)kind, task, (size_t)PyTuple_GET_SIZE(items));
    buffer_append(&state->events, packed.data, packed.size);
    state->events.failed |= packed.failed;
    buffer_free(&packed);
    Py_RETURN_NONE;
}

static PyObject *Recorder_complete(PyObject *self, PyObject *args)
{
    PyObject *outputs;
    Py_buffer sent = {0};
    if (!PyArg_ParseTuple(args, "O!|y*", &PyList_Type, &outputs, &sent)) return NULL;
    struct recorder *state = &((Recorder *)self)->state;
    state->extra.size = 0;
    state->extra_pairs = (size_t)PyList_GET_SIZE(outputs) / 2;
    bool packed = true;
    for (Py_ssize_t i = 0; packed && i < PyList_GET_SIZE(outputs); i++) {
        packed = pack(&state->extra, PyList_GET_ITEM(outputs, i));
    }
    if (!packed) state->extra.size = state->extra_pairs = 0;
    state->sent.size = 0;
    if (sent.obj) {
        buffer_append(&state->sent, sent.buf, (size_t)sent.len);
        PyBuffer_Release(&sent);
    }
    if (!packed) return NULL;
    Py_RETURN_NONE;
}

static PyObject *Recorder_turn(PyObject *self, PyObject *args)
{
    (void)args;
    return PyBool_FromLong(recorder_turn(&((Recorder *)self)->state));
}

static PyObject *Recorder_rest(PyObject *self, PyObject *args)
{
    PyObject *changed, *kept;
    struct buffer packed[2] = {0};
    if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &changed, &PyList_Type, &kept)) return NULL;
    bool whole = pack(&packed[0], changed) && pack(&packed[1], kept);
    if (whole) recorder_rest(&((Recorder *)self)->state, &packed[0], &packed[1]);
    buffer_free(&packed[0]);
    buffer_free(&packed[1]);
    if (!whole) return NULL;
    Py_RETURN_NONE;
}

static PyObject *Recorder_may_stand(PyObject *self, PyObject *args)
{
    (void)args;
    return PyBool_FromLong(recorder_may_stand(&((Recorder *)self)->state));
}

static PyObject *Recorder_step(PyObject *self, PyObject *args)
{
    (void)args;
    struct user_regs_struct registers;
    if (!recorder_step(&((Recorder *)self)->state, &registers)) Py_RETURN_NONE;
    return bytes_of((const char *)&registers, sizeof registers);
}

static PyObject *Recorder_pending(PyObject *self, PyObject *args)
{
    (void)args;
    struct ranges pending = {0};
    recorder_pending(&((Recorder *)self)->state, &pending);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < pending.count; i++) {
        PyObject *pair = Py_BuildValue("(KK)", (unsigned long long)(uintptr_t)pending.item[i].iov_base, (unsigned long long)pending.item[i].iov_len);
        if (!pair || PyList_Append(list, pair)) Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    ranges_free(&pending);
    return list;
}

static PyObject *Recorder_stand(PyObject *self, PyObject *args)
{
    PyObject *list, *kept, *moved;
    if (!PyArg_ParseTuple(args, "O!O!O!", &PyList_Type, &list, &PyList_Type, &kept, &PyList_Type, &moved)) return NULL;
    size_t count = (size_t)PyList_GET_SIZE(list);
    struct span *spans = calloc(count ? count : 1, sizeof *spans);
    struct buffer packed[2] = {0};
    bool whole = spans && pack(&packed[0], kept) && pack(&packed[1], moved);
    if (!spans) PyErr_NoMemory();
    for (size_t i = 0; whole && i < count; i++) {
        unsigned long long start, end;
        int sparse;
        whole = PyArg_ParseTuple(PyList_GET_ITEM(list, (Py_ssize_t)i), "KKp", &start, &end, &sparse);
        if (whole) spans[i] = (struct span){start, end, sparse};
    }
    if (whole) recorder_stand(&((Recorder *)self)->state, spans, count, &packed[0], &packed[1]);
    buffer_free(&packed[0]);
    buffer_free(&packed[1]);
    free(spans);
    if (!whole) return NULL;
    Py_RETURN_NONE;
}

static PyObject *Recorder_inputs(PyObject *self, PyObject *args)
{
    (void)args;
    struct task *subject = ((Recorder *)self)->state.subject;
    PyObject *inputs = PyList_New(0);
    if (!inputs || !subject) return inputs;
    struct cursor cursor = {subject->inputs.data, subject->inputs.data + subject->inputs.size, false};
    for (size_t i = 0; i < subject->input_pairs; i++) {
        size_t size;
        uint64_t address = read_unsigned(&cursor);
        const char *data = (const char *)read_binary(&cursor, &size);
        PyObject *pair[] = {PyLong_FromUnsignedLongLong(address), bytes_of(data, size)};
        bool added = pair[0] && pair[1] && PyList_Append(inputs, pair[0]) == 0 && PyList_Append(inputs, pair[1]) == 0;
        Py_XDECREF(pair[0]);
        Py_XDECREF(pair[1]);
        if (added) continue;
        Py_DECREF(inputs);
        return NULL;
    }
    return inputs;
}

static PyObject *Recorder_patch(PyObject *self, PyObject *args)
{
    int tid;
    unsigned long long address;
    const char *original;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "iKy#", &tid, &address, &original, &size)) return NULL;
    struct task *task = recorder_find(&((Recorder *)self)->state, tid);
    if (!task || size > (Py_ssize_t)sizeof task->group->patches[0].original) return os_error(EINVAL);
    if (task->group->patch_count == MAX_PATCHES) return os_error(ENOSPC);
    struct patch *patch = &task->group->patches[task->group->patch_count++];
    patch->address = address;
    memcpy(patch->original, original, (size_t)size);
    patch->size = (size_t)size;
    Py_RETURN_NONE;
}

static PyObject *Recorder_install(PyObject *self, PyObject *args)
{
    int tid;
    unsigned long long near;
    if (!PyArg_ParseTuple(args, "iK", &tid, &near)) return NULL;
    struct recorder *state = &((Recorder *)self)->state;
    struct task *task = recorder_find(state, tid);
    if (!task) return os_error(ESRCH);
    return PyBool_FromLong(recorder_install(state, task, near));
}

static PyObject *Recorder_code(PyObject *self, PyObject *args)
{
    int tid;
    unsigned long long start, end;
    Py_ssize_t sites = -1;
    if (!PyArg_ParseTuple(args, "iKK|n", &tid, &start, &end, &sites)) return NULL;
    struct recorder *state = &((Recorder *)self)->state;
    struct task *task = recorder_find(state, tid);
    if (!task) return os_error(ESRCH);
    struct sites *known = sites >= 0 && (size_t)sites < state->sites_count ? state->sites[sites] : NULL;
    if (!space_add_code(task->group->space, start, end, known)) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *Recorder_add_sites(PyObject *self, PyObject *args)
{
    Py_buffer packed;
    if (!PyArg_ParseTuple(args, "y*", &packed)) return NULL;
    struct recorder *state = &((Recorder *)self)->state;
    struct sites **all = realloc(state->sites, (state->sites_count + 1) * sizeof *all);
    if (all) state->sites = all;
    struct sites *sites = all ? malloc(sizeof *sites + (size_t)packed.len) : NULL;
    if (sites) {
        sites->count = (size_t)packed.len / sizeof *sites->item;
        memcpy(sites->item, packed.buf, sites->count * sizeof *sites->item);
        all[state->sites_count++] = sites;
    }
    PyBuffer_Release(&packed);
    return sites ? PyLong_FromSize_t(state->sites_count - 1) : PyErr_NoMemory();
}

static PyObject *Recorder_sites(PyObject *self, PyObject *args)
{
    struct recorder *state = &((Recorder *)self)->state;
    Py_ssize_t number;
    if (!PyArg_ParseTuple(args, "n", &number)) return NULL;
    if (number < 0 || (size_t)number >= state->sites_count) return os_error(EINVAL);
    const struct sites *sites = state->sites[number];
    return bytes_of(sites->item, sites->count * sizeof *sites->item);
}

static PyObject *Recorder_clock(PyObject *self, PyObject *args)
{
    int tid;
    unsigned long long start, end;
    Py_buffer places;
    if (!PyArg_ParseTuple(args, "iKKy*", &tid, &start, &end, &places)) return NULL;
    struct task *task = recorder_find(&((Recorder *)self)->state, tid);
    bool clocked = task && task->group->space->agent;
    bool added = !clocked || space_add_places(task->group->space, start, end, places.buf, (size_t)places.len / sizeof(struct place));
    PyBuffer_Release(&places);
    if (!task) return os_error(ESRCH);
    if (!added) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *Recorder_leave(PyObject *self, PyObject *args)
{
    int tid;
    const char *reason;
    if (!PyArg_ParseTuple(args, "is", &tid, &reason)) return NULL;
    struct recorder *state = &((Recorder *)self)->state;
    struct task *task = recorder_find(state, tid);
    if (!task) return os_error(ESRCH);
    recorder_leave(state, task->group, reason);
    Py_RETURN_NONE;
}

static PyObject *Recorder_detach(PyObject *self, PyObject *args)
{
    const char *reason;
    if (!PyArg_ParseTuple(args, "s", &reason)) return NULL;
    recorder_detach(&((Recorder *)self)->state, reason);
    Py_RETURN_NONE;
}

static PyObject *Recorder_decisions(PyObject *self, PyObject *args)
{
    (void)args;
    const struct scheduler *scheduler = &((Recorder *)self)->state.scheduler;
    PyObject *list = PyList_New((Py_ssize_t)scheduler->logged);
    for (size_t i = 0; list && i < scheduler->logged; i++) {
        const struct decided *decided = &scheduler->log[i];
        const struct decision *decision = &decided->decision;
        PyObject *item = Py_BuildValue("(IKIiiKKN)", decision->task, (unsigned long long)decision->course, decision->next, decided->from, decided->to,
                                       (unsigned long long)decided->next_at, (unsigned long long)decided->event, PyBool_FromLong(decided->preempts));
        if (!item) Py_CLEAR(list);
        else PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

static PyObject *Recorder_deadlocked(PyObject *self, PyObject *args)
{
    (void)args;
    return PyBool_FromLong(recorder_is_deadlocked(&((Recorder *)self)->state));
}

static PyObject *Recorder_kill(PyObject *self, PyObject *args)
{
    (void)args;
    recorder_kill(&((Recorder *)self)->state);
    Py_RETURN_NONE;
}

static PyObject *Recorder_get_events(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((Recorder *)self)->state.event_count);
}

static PyObject *Recorder_watch(PyObject *self, PyObject *args)
{
    unsigned long long device, inode;
    if (!PyArg_ParseTuple(args, "KK", &device, &inode)) return NULL;
    if (!recorder_watch(&((Recorder *)self)->state, (dev_t)device, (ino_t)inode)) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *Recorder_knows(PyObject *self, PyObject *args)
{
    int pid;
    if (!PyArg_ParseTuple(args, "i", &pid)) return NULL;
    return PyBool_FromLong(recorder_knows(&((Recorder *)self)->state, pid));
}

static PyObject *Recorder_task_of(PyObject *self, PyObject *args)
{
    int pid;
    if (!PyArg_ParseTuple(args, "i", &pid)) return NULL;
    return PyLong_FromLong(task_of(&((Recorder *)self)->state, pid));
}

static PyMethodDef Recorder_methods[] = {
    {"spawn", Recorder_spawn, METH_VARARGS, "spawn(path, argv, envp) -> pid: start a program, seized."},
    {"adopt", Recorder_adopt, METH_VARARGS, "adopt(tid, process, memory_of, clear_child_tid, robust_list, filtered, undumpable, continues): take over a task amid a program."},
    {"adopt_action", Recorder_adopt_action, METH_VARARGS, "adopt_action(process, signal, handler, flags, restorer, mask): what a signal does there."},
    {"go_on", Recorder_go_on, METH_VARARGS, "go_on(position, time): of the next event the number, and the time of the one before."},
    {"run", Recorder_run, METH_NOARGS, "run() -> request: record until policy is needed."},
    {"take", Recorder_take, METH_NOARGS, "take() -> (first, count, data, time): the events since the last time, and when the last one was."},
    {"emit", Recorder_emit, METH_VARARGS, "emit(kind, task, items): append an event of policy."},
    {"complete", Recorder_complete, METH_VARARGS, "complete(outputs[, sent]): add outputs, addresses and contents in turn, to the pending call."},
    {"turn", Recorder_turn, METH_NOARGS, "turn(): one more turn of the loop of the last request; whether it was the same."},
    {"may_stand", Recorder_may_stand, METH_NOARGS, "may_stand(): whether the task of the last request is to stay where it is, for a signal or for others."},
    {"step", Recorder_step, METH_NOARGS, "step() -> bytes | None: leads it to its next instruction; None where it has stopped on the way."},
    {"pending", Recorder_pending, METH_NOARGS, "pending() -> [(address, size)]: what calls of others, that have begun, may write."},
    {"stand", Recorder_stand, METH_VARARGS, "stand([(start, end, sparse)], kept, moved): it is left where it is; all that it can write, addresses and contents of some of that in turn, and how its instructions may be moved."},
    {"rest", Recorder_rest, METH_VARARGS, "rest(changed, kept): the task of the last request waits where it is; of what its loop changes, and of what it uses and does not change, addresses and contents in turn."},
    {"inputs", Recorder_inputs, METH_NOARGS, "inputs() -> list: what the subject's call has read, addresses and contents in turn."},
    {"patch", Recorder_patch, METH_VARARGS, "patch(tid, address, original): an instruction that was replaced."},
    {"install", Recorder_install, METH_VARARGS, "install(task, near) -> bool: put the agent into a new program."},
    {"clock", Recorder_clock, METH_VARARGS, "clock(task, start, end, places): ticking places, relative to a mapping."},
    {"add_sites", Recorder_add_sites, METH_VARARGS, "add_sites(packed) -> int: the system call sites of a piece of a file."},
    {"sites", Recorder_sites, METH_VARARGS, "sites(number) -> bytes: packed, with those marked that calls have come from."},
    {"code", Recorder_code, METH_VARARGS, "code(task, start, end[, number]): code has been mapped, with these sites."},
    {"watch", Recorder_watch, METH_VARARGS, "watch(device, inode): ask policy when a call changes this file."},
    {"leave", Recorder_leave, METH_VARARGS, "leave(task, reason): its process goes on unrecorded."},
    {"detach", Recorder_detach, METH_VARARGS, "detach(reason): every process goes on unrecorded."},
    {"decisions", Recorder_decisions, METH_NOARGS, "decisions() -> [(task, course, next, from, to, next_at, event, preempts)]: of the scheduler, but for the usual ones."},
    {"deadlocked", Recorder_deadlocked, METH_NOARGS, "deadlocked() -> bool: every task sleeps until another one wakes it."},
    {"kill", Recorder_kill, METH_NOARGS, "kill(): SIGKILL for every recorded process."},
    {"task_of", Recorder_task_of, METH_VARARGS, "task_of(pid) -> int: a task of the recorded process that has not ended, or 0."},
    {"knows", Recorder_knows, METH_VARARGS, "knows(pid) -> bool: it is a recorded process, or was until lately."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Recorder_attributes[] = {
    {"events", Recorder_get_events, NULL, "Events so far.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot Recorder_slots[] = {
    {Py_tp_init, (void *)Recorder_init},
    {Py_tp_dealloc, (void *)Recorder_dealloc},
    {Py_tp_methods, Recorder_methods},
    {Py_tp_getset, Recorder_attributes},
    {0, NULL},
};

static PyType_Spec Recorder_spec = {"pyrr_debugger._engine.Recorder", sizeof(Recorder), 0, Py_TPFLAGS_DEFAULT, Recorder_slots};

/* --- Replayer --- */

typedef struct {
    PyObject_HEAD
    struct replayer state;
    PyObject *agent; /* the bytes of the image */
    Py_buffer chunk; /* in which its cursor is */
} Replayer;

static int Replayer_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    struct replayer *state = &((Replayer *)self)->state;
    memset(state, 0, sizeof *state);
    state->streams[0] = -1;
    PyObject *agent;
    if (!PyArg_ParseTuple(args, "iiiS", &state->shared, &state->streams[1], &state->streams[2], &agent) || (keywords && PyDict_GET_SIZE(keywords))) return -1;
    if (!agent_image_read(&state->agent, (const uint8_t *)PyBytes_AS_STRING(agent), (size_t)PyBytes_GET_SIZE(agent))) {
        os_error(ENOEXEC);
        return -1;
    }
    Py_XSETREF(((Replayer *)self)->agent, Py_NewRef(agent));
    return 0;
}

static void Replayer_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    replayer_free(&((Replayer *)self)->state);
    Py_XDECREF(((Replayer *)self)->agent);
    PyBuffer_Release(&((Replayer *)self)->chunk);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *Replayer_start(PyObject *self, PyObject *args)
{
    int task;
    const char *stub;
    if (!PyArg_ParseTuple(args, "iy", &task, &stub)) return NULL;
    int real = replayer_start(&((Replayer *)self)->state, task, stub);
    return real < 0 ? os_error(-real) : PyLong_FromLong(real);
}

static PyObject *Replayer_spawn(PyObject *self, PyObject *args)
{
    int parent, task;
    unsigned long long flags;
    if (!PyArg_ParseTuple(args, "iiK", &parent, &task, &flags)) return NULL;
    int real = replayer_spawn(&((Replayer *)self)->state, parent, task, flags);
    return real < 0 ? os_error(-real) : PyLong_FromLong(real);
}

static struct actor *actor_of(PyObject *self, int task)
{
    struct actor *actor = replayer_find(&((Replayer *)self)->state, task);
    if (!actor) os_error(ESRCH);
    return actor;
}

static PyObject *Replayer_inject(PyObject *self, PyObject *args)
{
    int task;
    unsigned long long number, a[6] = {0};
    if (!PyArg_ParseTuple(args, "iK|KKKKKK", &task, &number, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5])) return NULL;
    struct actor *actor = actor_of(self, task);
    if (!actor) return NULL;
    uint64_t arguments[6] = {a[0], a[1], a[2], a[3], a[4], a[5]};
    return PyLong_FromLongLong(replayer_inject(actor, number, arguments));
}

static PyObject *Replayer_install(PyObject *self, PyObject *args)
{
    int task;
    if (!PyArg_ParseTuple(args, "i", &task)) return NULL;
    struct actor *actor = actor_of(self, task);
    if (!actor) return NULL;
    if (!install_agent(actor, &((Replayer *)self)->state.agent)) return os_error(ENOMEM);
    Py_RETURN_NONE;
}

static PyObject *Replayer_load(PyObject *self, PyObject *args)
{
    unsigned long long first, count;
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "KKy*", &first, &count, &data)) return NULL;
    struct replayer *state = &((Replayer *)self)->state;
    Py_buffer *chunk = &((Replayer *)self)->chunk;
    PyBuffer_Release(chunk);
    *chunk = data;
    const uint8_t *start = data.buf;
    state->cursor = (struct cursor){start, start + data.len, false};
    state->chunk = start;
    state->position = first;
    state->chunk_end = first + count;
    Py_RETURN_NONE;
}

static PyObject *outcome_of(const struct replayer *state, enum outcome outcome, int error)
{
    switch (outcome) {
    case OUTCOME_POSITION: return Py_BuildValue("(ss)", "position", "");
    case OUTCOME_CHUNK: return Py_BuildValue("(ss)", "chunk", "");
    case OUTCOME_POLICY: return Py_BuildValue("(ss)", "policy", "");
    case OUTCOME_DIVERGENCE: return Py_BuildValue("(ss)", "divergence", state->reason);
    case OUTCOME_TRAP: return Py_BuildValue("(ss)", "trap", "");
    default: return os_error(error);
    }
}

static PyObject *Replayer_run(PyObject *self, PyObject *args)
{
    unsigned long long until;
    long long ticks = TO_NEXT_STOP;
    if (!PyArg_ParseTuple(args, "K|L", &until, &ticks)) return NULL;
    struct replayer *state = &((Replayer *)self)->state;
    enum outcome outcome;
    int error;
    Py_BEGIN_ALLOW_THREADS;
    outcome = replayer_run(state, until, ticks);
    error = errno;
    Py_END_ALLOW_THREADS;
    return outcome_of(state, outcome, error);
}

static PyObject *Replayer_step(PyObject *self, PyObject *args)
{
    unsigned long long limit;
    uint64_t done;
    if (!PyArg_ParseTuple(args, "K", &limit)) return NULL;
    struct replayer *state = &((Replayer *)self)->state;
    enum outcome outcome;
    int error;
    Py_BEGIN_ALLOW_THREADS;
    outcome = replayer_step(state, limit, &done);
    error = errno;
    Py_END_ALLOW_THREADS;
    PyObject *result = outcome_of(state, outcome, error);
    return result ? Py_BuildValue("(NK)", result, (unsigned long long)done) : NULL;
}

static PyObject *Replayer_event(PyObject *self, PyObject *args)
{
    (void)args;
    const struct replayer *state = &((Replayer *)self)->state;
    struct cursor cursor = state->cursor;
    struct buffer event = {0};
    append_expanded(&event, &cursor, state->chunk);
    PyObject *result = cursor.bad ? os_error(EBADMSG) : event.failed ? os_error(ENOMEM) : bytes_of(event.data, event.size);
    buffer_free(&event);
    return result;
}

static PyObject *Replayer_advance(PyObject *self, PyObject *args)
{
    int due;
    if (!PyArg_ParseTuple(args, "i", &due)) return NULL;
    replayer_advance(&((Replayer *)self)->state, due ? replayer_find(&((Replayer *)self)->state, due) : NULL);
    Py_RETURN_NONE;
}

static PyObject *Replayer_answer(PyObject *self, PyObject *args)
{
    int task;
    long long result;
    if (!PyArg_ParseTuple(args, "iL", &task, &result)) return NULL;
    struct actor *actor = actor_of(self, task);
    if (!actor) return NULL;
    if (!replayer_answer(actor, result)) return os_error(errno);
    Py_RETURN_NONE;
}

static PyObject *Replayer_forget(PyObject *self, PyObject *args)
{
    int task;
    if (!PyArg_ParseTuple(args, "i", &task)) return NULL;
    replayer_forget(&((Replayer *)self)->state, task);
    Py_RETURN_NONE;
}

static PyObject *Replayer_end(PyObject *self, PyObject *args)
{
    (void)args;
    replayer_end(&((Replayer *)self)->state);
    Py_RETURN_NONE;
}

static const char *const stop_names[STOPS] = {"none", "call", "fault", "tick", "dead", "trap", "lost", "place"};

static PyObject *Replayer_actor(PyObject *self, PyObject *args)
{
    int task;
    if (!PyArg_ParseTuple(args, "i", &task)) return NULL;
    struct actor *actor = actor_of(self, task);
    return actor ? Py_BuildValue("(isiK)", actor->real, stop_names[actor->stop], actor->signal, (unsigned long long)*actor->brk) : NULL;
}

/* The first actor that shares an actor's memory tells which address space it is. */
static pid_t space_of(const struct replayer *state, const struct actor *actor)
{
    const struct actor *first = state->actors;
    while (first->brk != actor->brk) first = first->next;
    return first->task;
}

static PyObject *Replayer_actors(PyObject *self, PyObject *args)
{
    (void)args;
    const struct replayer *state = &((Replayer *)self)->state;
    if (state->due) return os_error(EBUSY);
    PyObject *list = PyList_New(0);
    for (struct actor *actor = state->actors; list && actor; actor = actor->next) {
        PyObject *item = Py_BuildValue("(iiisiKNNNK)", actor->task, space_of(state, actor), actor->real_group, stop_names[actor->stop], actor->signal, (unsigned long long)actor->arrival,
                                       PyBool_FromLong(actor->restarted), PyBool_FromLong(actor->agent), bytes_of(&actor->registers, sizeof actor->registers),
                                       (unsigned long long)*actor->brk);
        if (!item || PyList_Append(list, item)) Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *Replayer_adopt(PyObject *self, PyObject *args)
{
    int task, signal, restarted;
    const char *name;
    unsigned long long arrival, brk;
    Py_buffer registers;
    if (!PyArg_ParseTuple(args, "isiKpy*K", &task, &name, &signal, &arrival, &restarted, &registers, &brk)) return NULL;
    struct actor *actor = actor_of(self, task);
    unsigned stop = STOP_NONE;
    while (stop < STOPS && strcmp(stop_names[stop], name) != 0) stop++;
    bool good = actor && (stop < STOP_DEAD || stop == STOP_POINT) && registers.len == sizeof actor->registers;
    if (good) {
        memcpy(&actor->registers, registers.buf, sizeof actor->registers);
        actor->stop = (enum stop)stop;
        actor->signal = signal;
        actor->arrival = arrival;
        actor->restarted = restarted;
        *actor->brk = brk;
    }
    PyBuffer_Release(&registers);
    if (!actor) return NULL;
    if (!good) return os_error(EINVAL);
    Py_RETURN_NONE;
}

static PyObject *Replayer_skip(PyObject *self, PyObject *args)
{
    unsigned long long position;
    if (!PyArg_ParseTuple(args, "K", &position)) return NULL;
    int error = replayer_skip(&((Replayer *)self)->state, position);
    if (error) return os_error(-error);
    Py_RETURN_NONE;
}

static PyObject *Replayer_clone(PyObject *self, PyObject *args)
{
    int task;
    if (!PyArg_ParseTuple(args, "i", &task)) return NULL;
    struct actor *actor = actor_of(self, task);
    if (!actor) return NULL;
    pid_t real = diversion_start(actor);
    return real < 0 ? os_error(-real) : PyLong_FromLong(real);
}

static PyObject *Replayer_watch(PyObject *self, PyObject *args)
{
    struct replayer *state = &((Replayer *)self)->state;
    struct range range;
    unsigned long long start, end;
    if (!PyArg_ParseTuple(args, "KK", &start, &end)) return NULL;
    range.start = start;
    range.end = end;
    struct range *files = realloc(state->files, (state->file_count + 1) * sizeof *files);
    if (!files) return PyErr_NoMemory();
    state->files = files;
    files[state->file_count++] = range;
    Py_RETURN_NONE;
}

static bool read_trap(PyObject *item, struct trap *trap)
{
    unsigned long long address, stop_event, stop_at;
    int kind, except;
    const char *ranges;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(item, "KIiipy#KK", &address, &trap->size, &kind, &trap->task, &except, &ranges, &size, &stop_event, &stop_at)) return false;
    trap->address = address;
    trap->kind = (enum trap_kind)kind;
    trap->except = except;
    trap->stop_event = stop_event;
    trap->stop_at = stop_at;
    trap->range_count = (size_t)size / sizeof *trap->ranges;
    trap->ranges = size ? malloc((size_t)size) : NULL;
    if (trap->ranges) memcpy(trap->ranges, ranges, (size_t)size);
    else if (size) PyErr_NoMemory();
    bool aligned = trap->size && trap->size <= 8 && !(trap->size & (trap->size - 1)) && address % trap->size == 0;
    if (!aligned || (kind != TRAP_EXECUTE && kind != TRAP_WRITE && kind != TRAP_ACCESS)) os_error(EINVAL);
    return !PyErr_Occurred();
}

static PyObject *Replayer_trap(PyObject *self, PyObject *args)
{
    PyObject *list;
    struct trap traps[TRAPS] = {0};
    size_t count = 0;
    if (!PyArg_ParseTuple(args, "O!", &PyList_Type, &list)) return NULL;
    if (PyList_GET_SIZE(list) > TRAPS) return os_error(ENOSPC);
    for (; count < (size_t)PyList_GET_SIZE(list); count++)
        if (!read_trap(PyList_GET_ITEM(list, (Py_ssize_t)count), &traps[count])) {
            for (size_t i = 0; i <= count; i++) free(traps[i].ranges);
            return NULL;
        }
    if (!trap_set_replace(&((Replayer *)self)->state.traps, traps, count)) return os_error(ENOSPC);
    Py_RETURN_NONE;
}

static PyObject *Replayer_ticks_of(PyObject *self, PyObject *args)
{
    int task;
    if (!PyArg_ParseTuple(args, "i", &task)) return NULL;
    struct replayer *replayer = &((Replayer *)self)->state;
    struct actor *actor = replayer_find(replayer, task);
    if (!actor) return os_error(ESRCH);
    /* Behind a TICK, say, the number is still that of the run before it. */
    bool has_run = actor->stop != STOP_NONE && actor->arrival == replayer->position;
    return PyLong_FromUnsignedLongLong(has_run ? ticks_behind(actor) : 0);
}

static PyObject *Replayer_trapped(PyObject *self, PyObject *args)
{
    (void)args;
    const struct trap_set *set = &((Replayer *)self)->state.traps;
    return Py_BuildValue("(iKKKK)", set->task, (unsigned long long)set->stopped, (unsigned long long)set->event, (unsigned long long)set->logged, (unsigned long long)set->stops);
}

static PyObject *Replayer_hits(PyObject *self, PyObject *args)
{
    const struct trap_set *set = &((Replayer *)self)->state.traps;
    unsigned long long last = LOGGED_HITS;
    if (!PyArg_ParseTuple(args, "|K", &last)) return NULL;
    PyObject *list = PyList_New(0);
    if (last > LOGGED_HITS) last = LOGGED_HITS;
    for (uint64_t i = set->logged > last ? set->logged - last : 0; list && i < set->logged; i++) {
        const struct hit *hit = &set->log[i % LOGGED_HITS];
        PyObject *item = Py_BuildValue("(KIKKKKK)", (unsigned long long)hit->event, hit->trap, (unsigned long long)hit->count, (unsigned long long)hit->stop,
                                       (unsigned long long)hit->value, (unsigned long long)hit->ticks, (unsigned long long)hit->in_tick);
        if (!item || PyList_Append(list, item)) Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

#define CHECKPOINT "pyrr_debugger._engine.checkpoint"

static void free_checkpoint(PyObject *capsule) { checkpoint_free(PyCapsule_GetPointer(capsule, CHECKPOINT)); }

static PyObject *Replayer_checkpoint(PyObject *self, PyObject *args)
{
    (void)args;
    struct checkpoint *checkpoint = checkpoint_take(&((Replayer *)self)->state);
    if (!checkpoint) return os_error(errno);
    PyObject *capsule = PyCapsule_New(checkpoint, CHECKPOINT, free_checkpoint), *tasks = PyDict_New();
    for (struct actor *actor = checkpoint->actors; tasks && actor; actor = actor->next) {
        PyObject *task = PyLong_FromLong(actor->task), *real = PyLong_FromLong(actor->real);
        if (!task || !real || PyDict_SetItem(tasks, task, real)) Py_CLEAR(tasks);
        Py_XDECREF(task);
        Py_XDECREF(real);
    }
    if (!capsule) checkpoint_free(checkpoint);
    return Py_BuildValue("(NN)", capsule, tasks);
}

static PyObject *Replayer_restore(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    if (!PyArg_ParseTuple(args, "O", &capsule)) return NULL;
    const struct checkpoint *checkpoint = PyCapsule_GetPointer(capsule, CHECKPOINT);
    if (!checkpoint) return NULL;
    int error = checkpoint_restore(&((Replayer *)self)->state, checkpoint);
    if (error) return os_error(-error);
    Py_RETURN_NONE;
}

static PyObject *Replayer_get_due(PyObject *self, void *closure)
{
    (void)closure;
    const struct replayer *state = &((Replayer *)self)->state;
    return PyLong_FromLong(state->due ? state->due->task : 0);
}

static PyObject *Replayer_get_ticks(PyObject *self, void *closure)
{
    (void)closure;
    const struct replayer *state = &((Replayer *)self)->state;
    return PyLong_FromUnsignedLongLong(state->due_ticks);
}

static PyObject *Replayer_get_position(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((Replayer *)self)->state.position);
}

static PyObject *Replayer_get_output_error(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromLong(((Replayer *)self)->state.output_error);
}

static PyMethodDef Replayer_methods[] = {
    {"start", Replayer_start, METH_VARARGS, "start(task, stub) -> pid: an empty process for a recorded task."},
    {"spawn", Replayer_spawn, METH_VARARGS, "spawn(parent, task, flags) -> pid: clone for a recorded task."},
    {"inject", Replayer_inject, METH_VARARGS, "inject(task, number, *arguments) -> result: a call through the gate."},
    {"install", Replayer_install, METH_VARARGS, "install(task): put the agent into a restored program."},
    {"load", Replayer_load, METH_VARARGS, "load(first, count, data): the next chunk of events."},
    {"run", Replayer_run, METH_VARARGS, "run(until, ticks=-1) -> (outcome, reason)."},
    {"step", Replayer_step, METH_VARARGS, "step(limit) -> ((outcome, reason), steps): of the task that is due."},
    {"event", Replayer_event, METH_NOARGS, "event() -> bytes: the next event, encoded."},
    {"advance", Replayer_advance, METH_VARARGS, "advance(due): policy has consumed the event; `due` runs on."},
    {"answer", Replayer_answer, METH_VARARGS, "answer(task, result): the result of a call that policy carried out."},
    {"forget", Replayer_forget, METH_VARARGS, "forget(task): a recorded task has ended."},
    {"actor", Replayer_actor, METH_VARARGS, "actor(task) -> (pid, stop, signal, brk)."},
    {"actors", Replayer_actors, METH_NOARGS, "actors() -> [(task, space, group, stop, signal, arrival, restarted, agent, registers, brk)]: what adopt takes."},
    {"adopt", Replayer_adopt, METH_VARARGS, "adopt(task, stop, signal, arrival, restarted, registers, brk): a rebuilt task stands where another stood."},
    {"skip", Replayer_skip, METH_VARARGS, "skip(position): a later event of the chunk is the next one; what is there has been rebuilt."},
    {"end", Replayer_end, METH_NOARGS, "end(): ends and reaps all replayed processes."},
    {"ticks_of", Replayer_ticks_of, METH_VARARGS, "ticks_of(task) -> int: how many ticks it has run behind the last event; 0 if that is not its own, or it has not run since."},
    {"clone", Replayer_clone, METH_VARARGS, "clone(task) -> pid: a copy of one task, to be run and thrown away."},
    {"watch", Replayer_watch, METH_VARARGS, "watch(start, end): a file mapping lies there."},
    {"trap", Replayer_trap, METH_VARARGS, "trap([(address, size, kind, task, except, ranges, stop_event, stop_at)]): up to four."},
    {"trapped", Replayer_trapped, METH_NOARGS, "trapped() -> (task, bits of its traps, event, count of logged hits, count of stops)."},
    {"hits", Replayer_hits, METH_VARARGS, "hits(most=...) -> [(event, trap, count, stop, value, ticks, in_tick)]: the last ones."},
    {"checkpoint", Replayer_checkpoint, METH_NOARGS, "checkpoint() -> (checkpoint, {task: pid of its copy})."},
    {"restore", Replayer_restore, METH_VARARGS, "restore(checkpoint): go on from there; its chunk has been loaded."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Replayer_attributes[] = {
    {"due", Replayer_get_due, NULL, "The task that stands amid its way to the next event; 0: none.", NULL},
    {"ticks", Replayer_get_ticks, NULL, "How many ticks behind the last event that task stands.", NULL},
    {"position", Replayer_get_position, NULL, "Number of the next event.", NULL},
    {"output_error", Replayer_get_output_error, NULL, "errno of output that could not be written; 0: none.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot Replayer_slots[] = {
    {Py_tp_init, (void *)Replayer_init},
    {Py_tp_dealloc, (void *)Replayer_dealloc},
    {Py_tp_methods, Replayer_methods},
    {Py_tp_getset, Replayer_attributes},
    {0, NULL},
};

static PyType_Spec Replayer_spec = {"pyrr_debugger._engine.Replayer", sizeof(Replayer), 0, Py_TPFLAGS_DEFAULT, Replayer_slots};

/* --- clones that answer questions --- */

static PyObject *module_clone_run(PyObject *self, PyObject *args)
{
    (void)self;
    int pid, signal = 0;
    enum stop stop;
    if (!PyArg_ParseTuple(args, "i", &pid)) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    stop = diversion_run(pid, &signal);
    Py_END_ALLOW_THREADS;
    return Py_BuildValue("(si)", stop_names[stop], signal);
}

static PyObject *module_clone_inject(PyObject *self, PyObject *args)
{
    (void)self;
    struct actor clone = {0};
    unsigned long long number, a[6] = {0};
    if (!PyArg_ParseTuple(args, "iK|KKKKKK", &clone.real, &number, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5])) return NULL;
    uint64_t arguments[6] = {a[0], a[1], a[2], a[3], a[4], a[5]};
    return PyLong_FromLongLong(replayer_inject(&clone, number, arguments));
}

static PyObject *module_clone_end(PyObject *self, PyObject *args)
{
    (void)self;
    int pid;
    if (!PyArg_ParseTuple(args, "i", &pid)) return NULL;
    replayer_kill(pid);
    Py_RETURN_NONE;
}

/* --- going live --- */

static PyObject *module_live_start(PyObject *self, PyObject *args)
{
    (void)self;
    const char *seed;
    int wanted;
    if (!PyArg_ParseTuple(args, "yi", &seed, &wanted)) return NULL;
    pid_t pid = live_start(seed, wanted);
    return pid < 0 ? os_error(-pid) : PyLong_FromLong(pid);
}

static PyObject *module_live_wait(PyObject *self, PyObject *args)
{
    (void)self;
    int tid;
    if (!PyArg_ParseTuple(args, "i", &tid)) return NULL;
    if (!live_wait(tid)) return os_error(ESRCH);
    Py_RETURN_NONE;
}

static PyObject *module_live_call(PyObject *self, PyObject *args)
{
    (void)self;
    int tid, here;
    bool dead;
    unsigned long long number, a[6] = {0};
    if (!PyArg_ParseTuple(args, "ipK|KKKKKK", &tid, &here, &number, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5])) return NULL;
    uint64_t arguments[6] = {a[0], a[1], a[2], a[3], a[4], a[5]};
    int64_t result = live_call(tid, here, number, arguments, &dead);
    if (dead) return os_error(ESRCH);
    return PyLong_FromLongLong(result);
}

static PyObject *module_live_own_ids(PyObject *self, PyObject *args)
{
    (void)self;
    const char *seed;
    int gate;
    if (!PyArg_ParseTuple(args, "y", &seed)) return NULL;
    pid_t first = live_own_ids(seed, &gate);
    return first < 0 ? os_error(-first) : Py_BuildValue("ii", first, gate);
}

static PyObject *module_live_clone(PyObject *self, PyObject *args)
{
    (void)self;
    int tid;
    bool dead;
    pid_t born = 0;
    unsigned long long arguments, size;
    if (!PyArg_ParseTuple(args, "iKK", &tid, &arguments, &size)) return NULL;
    int64_t result = live_clone(tid, arguments, size, &born, &dead);
    if (dead) return os_error(ESRCH);
    return Py_BuildValue("Li", result, born);
}

static PyObject *module_live_run(PyObject *self, PyObject *args)
{
    (void)self;
    int tid, signal;
    if (!PyArg_ParseTuple(args, "i", &tid)) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    signal = live_run(tid);
    Py_END_ALLOW_THREADS;
    return PyLong_FromLong(signal);
}

static PyObject *module_live_copy(PyObject *self, PyObject *args)
{
    (void)self;
    int from, to;
    unsigned long long start, end;
    if (!PyArg_ParseTuple(args, "iiKK", &from, &to, &start, &end)) return NULL;
    if (!live_copy(from, to, start, end)) return os_error(EFAULT);
    Py_RETURN_NONE;
}

static PyObject *module_live_release(PyObject *self, PyObject *args)
{
    (void)self;
    int tid;
    if (!PyArg_ParseTuple(args, "i", &tid)) return NULL;
    if (!live_release(tid)) return os_error(errno);
    Py_RETURN_NONE;
}

static PyObject *module_set_mask(PyObject *self, PyObject *args)
{
    (void)self;
    int tid;
    unsigned long long mask;
    if (!PyArg_ParseTuple(args, "iK", &tid, &mask)) return NULL;
    uint64_t set = mask;
    if (ptrace(PTRACE_SETSIGMASK, tid, sizeof set, &set) == -1) return os_error(errno);
    Py_RETURN_NONE;
}

static PyObject *module_leave_stopped(PyObject *self, PyObject *args)
{
    (void)self;
    int tid;
    if (!PyArg_ParseTuple(args, "i", &tid)) return NULL;
    /* What is given to PTRACE_DETACH is lost where a task is not stopped by a signal (ptrace(2)). */
    if (syscall(SYS_tkill, tid, SIGSTOP) || ptrace(PTRACE_DETACH, tid, 0, 0) == -1) return os_error(errno);
    Py_RETURN_NONE;
}

static PyObject *module_index(PyObject *self, PyObject *args)
{
    (void)self;
    const char *data;
    Py_ssize_t size, count;
    if (!PyArg_ParseTuple(args, "y#n", &data, &size, &count)) return NULL;
    if (count < 0 || count > size) return PyErr_Format(PyExc_ValueError, "it does not hold %zd events", count);
    Py_ssize_t bytes = (count + 1) * (Py_ssize_t)sizeof(uint64_t);
    PyObject *offsets = PyBytes_FromStringAndSize(NULL, bytes), *times = PyBytes_FromStringAndSize(NULL, bytes);
    bool whole = offsets && times &&
                 index_events((const uint8_t *)data, (size_t)size, (size_t)count, (uint64_t *)(void *)PyBytes_AS_STRING(offsets), (uint64_t *)(void *)PyBytes_AS_STRING(times));
    if (offsets && times && !whole) PyErr_Format(PyExc_ValueError, "it does not hold %zd events", count);
    if (whole) return Py_BuildValue("NN", offsets, times);
    Py_XDECREF(offsets);
    Py_XDECREF(times);
    return NULL;
}

static bool add_to_set(PyObject *set, long long number)
{
    PyObject *item = PyLong_FromLongLong(number);
    bool added = item && !PySet_Add(set, item);
    Py_XDECREF(item);
    return added;
}

static bool add_to_counter(PyObject *counter, unsigned long long number, unsigned long long more)
{
    PyObject *key = PyLong_FromUnsignedLongLong(number);
    PyObject *before = key ? PyDict_GetItemWithError(counter, key) : NULL;
    unsigned long long count = before ? PyLong_AsUnsignedLongLong(before) : 0;
    PyObject *value = PyErr_Occurred() ? NULL : PyLong_FromUnsignedLongLong(count + more);
    bool added = value && !PyDict_SetItem(counter, key, value);
    Py_XDECREF(key);
    Py_XDECREF(value);
    return added;
}

static PyObject *module_tally(PyObject *self, PyObject *args)
{
    (void)self;
    enum { NUMBERS = 1024 };
    const char *data, *packed;
    Py_ssize_t size, offset_bytes;
    PyObject *calls, *tasks;
    if (!PyArg_ParseTuple(args, "y#y#O!O!", &data, &size, &packed, &offset_bytes, &PyDict_Type, &calls, &PySet_Type, &tasks)) return NULL;
    const uint64_t *offsets = (const uint64_t *)(const void *)packed;
    uint64_t counts[NUMBERS] = {0};
    pid_t last = 0;
    bool fine = true;
    for (size_t i = 0; fine && i + 1 < (size_t)offset_bytes / sizeof(uint64_t); i++) {
        struct outline outline = outline_of((const uint8_t *)data + offsets[i], (const uint8_t *)data + offsets[i + 1]);
        if (outline.task != last && outline.task) fine = add_to_set(tasks, last = outline.task);
        if (!outline.is_call) continue;
        if (outline.call < NUMBERS) counts[outline.call]++;
        else fine = fine && add_to_counter(calls, outline.call, 1);
    }
    for (unsigned number = 0; fine && number < NUMBERS; number++)
        if (counts[number]) fine = add_to_counter(calls, number, counts[number]);
    if (!fine) return NULL;
    Py_RETURN_NONE;
}

static PyObject *module_targets(PyObject *self, PyObject *args)
{
    (void)self;
    const char *code, *wanted;
    Py_ssize_t size, wanted_bytes;
    unsigned long long base;
    if (!PyArg_ParseTuple(args, "y#Ky#", &code, &size, &base, &wanted, &wanted_bytes)) return NULL;
    struct buffer found = {0}, taken = {0};
    Py_BEGIN_ALLOW_THREADS;
    find_targets((const uint8_t *)code, (size_t)size, base, (const uint64_t *)(const void *)wanted, (size_t)wanted_bytes / sizeof(uint64_t), &found, &taken);
    Py_END_ALLOW_THREADS;
    return Py_BuildValue("NN", bytes_from(&found), bytes_from(&taken));
}

static PyObject *module_words(PyObject *self, PyObject *args)
{
    (void)self;
    const char *data, *wanted;
    Py_ssize_t size, wanted_bytes;
    if (!PyArg_ParseTuple(args, "y#y#", &data, &size, &wanted, &wanted_bytes)) return NULL;
    struct buffer found = {0};
    find_words((const uint8_t *)data, (size_t)size, (const uint64_t *)(const void *)wanted, (size_t)wanted_bytes / sizeof(uint64_t), &found);
    return bytes_from(&found);
}

static PyObject *module_entries(PyObject *self, PyObject *args)
{
    (void)self;
    const char *words, *addresses, *wanted;
    Py_ssize_t size, address_bytes, wanted_bytes, longest, most;
    unsigned long long start, lowest, highest;
    if (!PyArg_ParseTuple(args, "y#Ky#KKnny#", &words, &size, &start, &addresses, &address_bytes, &lowest, &highest, &longest, &most, &wanted, &wanted_bytes)) return NULL;
    const struct tables tables = {(const uint8_t *)words, (size_t)size / sizeof(int32_t), start, lowest, highest, (size_t)longest, (size_t)most};
    struct buffer found = {0};
    bool all = find_entries(&tables, (const uint64_t *)(const void *)addresses, (size_t)address_bytes / sizeof(uint64_t),
                            (const uint64_t *)(const void *)wanted, (size_t)wanted_bytes / sizeof(uint64_t), &found);
    if (all) return bytes_from(&found);
    buffer_free(&found);
    Py_RETURN_NONE;
}

static PyObject *module_select(PyObject *self, PyObject *args)
{
    (void)self;
    const char *data, *offsets, *calls;
    Py_ssize_t size, offset_bytes, call_count;
    unsigned long long kinds;
    int output;
    if (!PyArg_ParseTuple(args, "y#y#Ky#p", &data, &size, &offsets, &offset_bytes, &kinds, &calls, &call_count, &output)) return NULL;
    size_t count = (size_t)offset_bytes / sizeof(uint64_t);
    struct wanted wanted = {kinds, (const uint8_t *)calls, (size_t)call_count, output};
    uint32_t *found = PyMem_Malloc((count + 1) * sizeof *found);
    if (!count || !found) return PyErr_NoMemory();
    size_t selected = select_events((const uint8_t *)data, (const uint64_t *)(const void *)offsets, count - 1, &wanted, found);
    PyObject *result = PyBytes_FromStringAndSize((const char *)found, (Py_ssize_t)(selected * sizeof *found));
    PyMem_Free(found);
    return result;
}

static PyObject *module_shown_at(PyObject *self, PyObject *args)
{
    (void)self;
    int pid;
    unsigned long long rip;
    if (!PyArg_ParseTuple(args, "iK", &pid, &rip)) return NULL;
    return PyLong_FromUnsignedLongLong(shown_at(pid, rip));
}

static PyObject *module_unpatched(PyObject *self, PyObject *args)
{
    (void)self;
    int pid;
    unsigned long long address;
    const char *data;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "iKy#", &pid, &address, &data, &size)) return NULL;
    PyObject *result = PyBytes_FromStringAndSize(data, size);
    if (result) unpatch(pid, address, (uint8_t *)PyBytes_AS_STRING(result), (size_t)size);
    return result;
}

static PyMethodDef module_methods[] = {
    {"pack", module_pack, METH_O, "pack(value) -> bytes: as msgpack, paths with their own bytes."},
    {"read", module_read, METH_VARARGS, "read(pid, address, size) -> bytes, shorter where memory ends."},
    {"write", module_write, METH_VARARGS, "write(pid, address, data), past page protections."},
    {"registers", module_registers, METH_VARARGS, "registers(tid) -> bytes of struct user_regs_struct."},
    {"set_registers", module_set_registers, METH_VARARGS, "set_registers(tid, registers, xstate)."},
    {"xstate", module_xstate, METH_VARARGS, "xstate(tid, settle=False) -> bytes of the XSAVE area; settled, it stays so until the task writes to it."},
    {"checksum", module_checksum, METH_VARARGS, "checksum(pid, start, end, sparse) -> bytes of struct page_sum."},
    {"leave_stopped", module_leave_stopped, METH_VARARGS, "leave_stopped(tid): trace it no more; it stays stopped."},
    {"index", module_index, METH_VARARGS, "index(data, count) -> (offsets, times): where the events of a chunk begin, as arrays of 64 bits."},
    {"select", module_select, METH_VARARGS, "select(data, offsets, kinds, calls, output) -> indexes of events, as an array of 32 bits."},
    {"tally", module_tally, METH_VARARGS, "tally(data, offsets, calls, tasks): adds to the counts of system calls and the ids of tasks."},
    {"words", module_words, METH_VARARGS, "words(data, wanted) -> those of them that are 8-byte words of it."},
    {"entries", module_entries, METH_VARARGS, "entries(words, start, tables, lowest, highest, longest, most, wanted) -> those that tables stand for; None: too many entries."},
    {"targets", module_targets, METH_VARARGS, "targets(code, base, wanted) -> (found, taken): where code may lead, as arrays of 64 bits."},
    {"shown_at", module_shown_at, METH_VARARGS, "shown_at(pid, rip) -> the address of the program it stands for."},
    {"unpatched", module_unpatched, METH_VARARGS, "unpatched(pid, address, data) -> what the program had there."},
    {"clone_run", module_clone_run, METH_VARARGS, "clone_run(pid) -> (stop, signal): run a clone to its next stop."},
    {"clone_inject", module_clone_inject, METH_VARARGS, "clone_inject(pid, number, *arguments) -> result."},
    {"clone_end", module_clone_end, METH_VARARGS, "clone_end(pid): throw a clone away."},
    {"live_start", module_live_start, METH_VARARGS, "live_start(seed, wanted) -> pid: an empty process with our authority."},
    {"live_wait", module_live_wait, METH_VARARGS, "live_wait(tid): until what a seed has cloned can be called."},
    {"live_call", module_live_call, METH_VARARGS, "live_call(tid, here, number, *arguments) -> result."},
    {"live_own_ids", module_live_own_ids, METH_VARARGS, "live_own_ids(seed) -> (first, gate): a namespace of process ids."},
    {"live_clone", module_live_clone, METH_VARARGS, "live_clone(tid, arguments, size) -> (result, tid): clone3."},
    {"live_run", module_live_run, METH_VARARGS, "live_run(tid) -> signal: run freely until it traps; 0: it has ended."},
    {"live_copy", module_live_copy, METH_VARARGS, "live_copy(from, to, start, end): memory of another process."},
    {"live_release", module_live_release, METH_VARARGS, "live_release(tid): let it go on untraced."},
    {"set_mask", module_set_mask, METH_VARARGS, "set_mask(tid, mask): the signals that a stopped task blocks."},
    {"cpuid", module_cpuid, METH_VARARGS, "cpuid(leaf, subleaf) -> (eax, ebx, ecx, edx)."},
    {"xgetbv", module_xgetbv, METH_NOARGS, "xgetbv() -> XCR0."},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    if (!type) return -1;
    int failed = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return failed;
}

static int module_execute(PyObject *module)
{
    if (add_type(module, "Recorder", &Recorder_spec) || add_type(module, "Replayer", &Replayer_spec)) return -1;
    PyObject *kinds = Py_BuildValue("(iiiiiiiiiiiiiiii)", EVENT_SYSCALL, EVENT_EXEC, EVENT_SIGNAL, EVENT_SPAWN, EVENT_EXIT, EVENT_INSTRUCTION,
                                    EVENT_CHECKSUM, EVENT_END, EVENT_NOTE, EVENT_START, EVENT_LEAVE, EVENT_STOPPED, EVENT_CONTINUED, EVENT_TICK,
                                    EVENT_FAULT, EVENT_BRANCH);
    if (!kinds || PyModule_AddObjectRef(module, "EVENT_KINDS", kinds)) return -1;
    Py_DECREF(kinds);
    PyObject *agent = Py_BuildValue("(KK)", (unsigned long long)AGENT_TEXT, (unsigned long long)AGENT_END);
    if (!agent || PyModule_AddObjectRef(module, "AGENT", agent)) return -1;
    Py_DECREF(agent);
    PyObject *gate = PyLong_FromUnsignedLongLong(GATE_PAGE);
    if (!gate || PyModule_AddObjectRef(module, "GATE_PAGE", gate)) return -1;
    Py_DECREF(gate);
    PyObject *arguments = Py_BuildValue("(KK)", (unsigned long long)LIVE_ARGUMENTS, (unsigned long long)LIVE_ARGUMENTS_BYTES);
    if (!arguments || PyModule_AddObjectRef(module, "LIVE_ARGUMENTS", arguments)) return -1;
    Py_DECREF(arguments);
    PyObject *stub = Py_BuildValue("(iii)", STUB_BYTES, STUB_SITE, STUB_AFTER);
    if (!stub || PyModule_AddObjectRef(module, "SITE_STUB", stub)) return -1;
    Py_DECREF(stub);
    PyObject *ticks = Py_BuildValue("(Kiiii)", (unsigned long long)AGENT_TICKS, TICKS, TICK_BYTES, TICK_WORD, TICK_TARGET);
    if (!ticks || PyModule_AddObjectRef(module, "TICKS", ticks)) return -1;
    Py_DECREF(ticks);
    if (PyModule_AddIntConstant(module, "SHARED_DESCRIPTOR", SHARED_DESCRIPTOR)) return -1;
    return PyModule_AddIntConstant(module, "GATE_BYTES", GATE_BYTES);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, (void *)module_execute}, {0, NULL}};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_engine", "Record and replay loops over ptrace.", 0, module_methods, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__engine(void);
PyMODINIT_FUNC PyInit__engine(void) { return PyModuleDef_Init(&module_definition); }
