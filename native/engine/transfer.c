#define _GNU_SOURCE
#define PYRR_SYSCALL_ROWS
#include "transfer.h"

#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>

#include "tracee.h"

_Static_assert(sizeof(struct msghdr) == 56, "struct msghdr");
_Static_assert(sizeof(struct mmsghdr) == 64, "struct mmsghdr");
_Static_assert(sizeof(struct iovec) == 16, "struct iovec");

enum { MAX_VECTORS = 1024, MAX_STRINGS = 65536, FAULT_LIMIT = 1 << 20 };

/* The number under which the row of a command stands (Row.command of the specification). */
static uint64_t command_of(const struct syscall_row *row, const uint64_t arguments[6])
{
    uint64_t number = arguments[row->selector] & row->selector_mask;
    if (row->selector_high != 0xff) number |= (arguments[row->selector_high] & 0xffffffff) << 32;
    return number;
}

static void add(struct ranges *ranges, uint64_t address, uint64_t size)
{
    if (!address || !size || ranges->failed) return;
    if (ranges->count == ranges->capacity && !ranges_grow(ranges)) return;
    ranges->item[ranges->count++] = (struct iovec){(void *)(uintptr_t)address, size};
    ranges->total += size;
}

const struct syscall_row *row_of(uint64_t number, const uint64_t arguments[6])
{
    if (number >= SYSCALL_ROW_COUNT || !syscall_rows[number].name) return NULL;
    const struct syscall_row *row = &syscall_rows[number];
    if (row->selector == 0xff) return row;
    uint64_t key = command_of(row, arguments);
    size_t low = 0, high = row->command_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (row->commands[middle].number < key) low = middle + 1;
        else high = middle;
    }
    return low < row->command_count && row->commands[low].number == key ? &row->commands[low] : row;
}

void narrow_arguments(const struct syscall_row *row, uint64_t arguments[6])
{
    for (unsigned i = 0; row && i < 6; i++)
        if (row->narrow & 1u << i) arguments[i] &= 0xffffffff;
}

/* A product that overflows is a size which no call accepts. */
static uint64_t product(uint64_t count, uint64_t unit)
{
    uint64_t size;
    return __builtin_mul_overflow(count, unit, &size) || size > UINT32_MAX ? 0 : size;
}

/* Adds up to `limit` bytes spread over an iovec array. */
static void add_vectors(pid_t pid, uint64_t array, uint64_t count, uint64_t limit, struct ranges *ranges)
{
    struct iovec vectors[MAX_VECTORS];
    if (count > MAX_VECTORS) return;
    if (tracee_read(pid, array, vectors, count * sizeof *vectors) != count * sizeof *vectors) return;
    for (size_t i = 0; i < count && limit; i++) {
        uint64_t size = vectors[i].iov_len < limit ? vectors[i].iov_len : limit;
        add(ranges, (uintptr_t)vectors[i].iov_base, size);
        limit -= size;
    }
}

/* A length that the kernel has updated may exceed what fitted into the buffer. Reading too much is harmless: what the
   kernel did not write is the same in replay. */
static void add_message(pid_t pid, uint64_t address, uint64_t limit, struct ranges *ranges)
{
    struct msghdr header;
    if (tracee_read(pid, address, &header, sizeof header) != sizeof header) return;
    add(ranges, address, sizeof header);
    add(ranges, (uintptr_t)header.msg_name, header.msg_namelen < 256 ? header.msg_namelen : 256);
    add(ranges, (uintptr_t)header.msg_control, header.msg_controllen < 65536 ? header.msg_controllen : 65536);
    add_vectors(pid, (uintptr_t)header.msg_iov, header.msg_iovlen, limit, ranges);
}

static void add_messages(pid_t pid, uint64_t address, uint64_t count, bool received, struct ranges *ranges)
{
    for (uint64_t i = 0; i < count && i < MAX_VECTORS; i++) {
        uint64_t entry = address + i * sizeof(struct mmsghdr);
        uint32_t length;
        if (tracee_read(pid, entry + sizeof(struct msghdr), &length, sizeof length) != sizeof length) return;
        add_message(pid, entry, received ? length : INPUT_PREFIX, ranges);
        add(ranges, entry + sizeof(struct msghdr), sizeof length);
    }
}

static uint64_t pointee(pid_t pid, uint64_t address, size_t width)
{
    uint64_t value = 0;
    return address && tracee_read(pid, address, &value, width) == width ? value : 0;
}

static uint64_t ioctl_size(uint64_t request, bool written)
{
    /* _IOC_DIR in bits 31-30 (2: the kernel writes, 1: it reads), _IOC_SIZE in 29-16; asm-generic/ioctl.h. Numbers
       from before that encoding have neither: whatever they write lies in a small structure. */
    uint64_t direction = request >> 30 & 3, size = request >> 16 & 0x3fff;
    if (direction == 0 && size == 0) return written ? 256 : 0;
    return direction & (written ? 2 : 1) ? size : 0;
}

/* A program of a filter, in parts as long as an input may be: it must be there where the process is to be made again. */
static void add_filter(pid_t pid, uint64_t address, struct ranges *ranges)
{
    struct sock_fprog program;
    add(ranges, address, sizeof program);
    if (!address || tracee_read(pid, address, &program, sizeof program) != sizeof program || program.len > BPF_MAXINSNS) return;
    size_t size = program.len * sizeof *program.filter;
    for (size_t at = 0; at < size; at += STRING_LIMIT)
        add(ranges, (uintptr_t)program.filter + at, size - at < STRING_LIMIT ? size - at : STRING_LIMIT);
}

static void add_transfer(pid_t pid, const struct transfer *transfer, const uint64_t arguments[6], int64_t result,
                         bool written, struct ranges *ranges)
{
    uint64_t address = arguments[transfer->arg];
    uint64_t bytes = result > 0 ? (uint64_t)result : 0;
    switch (transfer->kind) {
    case KIND_FIXED: add(ranges, address, transfer->unit); break;
    case KIND_RESULT: add(ranges, address, product(bytes, transfer->unit)); break;
    case KIND_ARGUMENT: add(ranges, address, product(arguments[transfer->count], transfer->unit)); break;
    case KIND_POINTEE: {
        uint64_t size = pointee(pid, arguments[transfer->count], 4) * transfer->unit;
        add(ranges, address, size < 65536 ? size : 65536);
        break;
    }
    case KIND_POINTEE64: {
        uint64_t size = pointee(pid, arguments[transfer->count], 8) * transfer->unit;
        add(ranges, address, size < 65536 ? size : 65536);
        break;
    }
    case KIND_IOVEC: add_vectors(pid, address, arguments[transfer->count], written ? bytes : INPUT_PREFIX, ranges); break;
    case KIND_MSGHDR: add_message(pid, address, written ? bytes : INPUT_PREFIX, ranges); break;
    case KIND_MMSGHDR: add_messages(pid, address, written ? bytes : arguments[transfer->count], written, ranges); break;
    case KIND_FDSET: {
        uint64_t bits = arguments[transfer->count] < 65536 ? arguments[transfer->count] : 65536;
        add(ranges, address, (bits + 63) / 64 * 8);
        break;
    }
    case KIND_RESULT_UP_TO: {
        uint64_t room = arguments[transfer->count];
        add(ranges, address, product(bytes < room ? bytes : room, transfer->unit));
        break;
    }
    case KIND_MSGBUF: add(ranges, address, 8 + (written ? bytes : product(arguments[transfer->count], 1))); break;
    case KIND_PAGES: add(ranges, address, product(arguments[transfer->count] / PAGE_BYTES + 1, transfer->unit)); break;
    case KIND_INDIRECT: add(ranges, pointee(pid, address ? address + transfer->count : 0, 8), transfer->unit); break;
    case KIND_FILTER: add_filter(pid, address, ranges); break;
    case KIND_IOCTL: add(ranges, address, ioctl_size(arguments[1], written)); break;
    case KIND_CONSERVATIVE: add(ranges, address, transfer->unit < CONSERVATIVE_LIMIT ? transfer->unit : CONSERVATIVE_LIMIT); break;
    default: break;
    }
}

static bool applies(const struct transfer *transfer, int64_t result)
{
    return transfer->when == WHEN_ALWAYS || (transfer->when == WHEN_ERROR) == (result < 0) || result == -EFAULT;
}

void transfer_outputs(pid_t pid, const struct syscall_row *row, const uint64_t arguments[6], int64_t result,
                      struct ranges *ranges)
{
    /* A call that meets a bad page has written what lies before it: all that was asked for is taken, as far as it is there. */
    int64_t size = result == -EFAULT ? FAULT_LIMIT : result;
    for (unsigned i = 0; i < row->out_count; i++)
        if (applies(&row->out[i], result)) add_transfer(pid, &row->out[i], arguments, size, true, ranges);
    for (size_t i = 0; result == -EFAULT && i < ranges->count; i++)
        if (ranges->item[i].iov_len > FAULT_LIMIT) ranges->item[i].iov_len = FAULT_LIMIT;
}

void transfer_room(pid_t pid, const struct syscall_row *row, const uint64_t arguments[6], struct ranges *ranges)
{
    for (unsigned i = 0; i < row->out_count; i++) {
        const struct transfer *transfer = &row->out[i];
        int64_t most = transfer->kind == KIND_RESULT ? FAULT_LIMIT : transfer->kind == KIND_MMSGHDR ? (int64_t)arguments[transfer->count] : INT32_MAX;
        add_transfer(pid, transfer, arguments, most, true, ranges);
    }
}

void transfer_sent(pid_t pid, const struct syscall_row *row, const uint64_t arguments[6], int64_t result,
                   struct ranges *ranges)
{
    for (unsigned i = 0; i < row->in_count && result > 0; i++) {
        const struct transfer *transfer = &row->in[i];
        if (transfer->kind == KIND_ARGUMENT) add(ranges, arguments[transfer->arg], (uint64_t)result);
        else if (transfer->kind == KIND_IOVEC)
            add_vectors(pid, arguments[transfer->arg], arguments[transfer->count], (uint64_t)result, ranges);
        else continue;
        return;
    }
}

static size_t string_size(pid_t pid, uint64_t address, char text[STRING_LIMIT])
{
    size_t size = 0;
    while (size < STRING_LIMIT) {
        size_t piece = PAGE_BYTES - (address + size) % PAGE_BYTES;
        if (piece > 256) piece = 256;
        if (piece > STRING_LIMIT - size) piece = STRING_LIMIT - size;
        size_t got = tracee_read(pid, address + size, text + size, piece);
        char *zero = memchr(text + size, 0, got);
        if (zero) return (size_t)(zero - text) + 1;
        size += got;
        if (got < piece) break;
    }
    return size;
}

static size_t put_string(pid_t pid, uint64_t address, struct buffer *to)
{
    char text[STRING_LIMIT];
    size_t size = address ? string_size(pid, address, text) : 0;
    if (!size) return 0;
    wire_unsigned(to, address);
    wire_binary(to, text, size);
    return 1;
}

static size_t put_strings(pid_t pid, uint64_t array, struct buffer *to)
{
    size_t pairs = 0;
    for (unsigned i = 0; array && i < MAX_STRINGS; i++, array += 8) {
        uint64_t pointer;
        if (tracee_read(pid, array, &pointer, sizeof pointer) != sizeof pointer || !pointer) break;
        wire_unsigned(to, array);
        wire_binary(to, &pointer, sizeof pointer);
        pairs += 1 + put_string(pid, pointer, to);
    }
    return pairs;
}

size_t transfer_inputs(pid_t pid, const struct syscall_row *row, const uint64_t arguments[6], struct buffer *to)
{
    size_t pairs = 0;
    for (unsigned i = 0; i < row->in_count; i++) {
        const struct transfer *transfer = &row->in[i];
        if (transfer->kind == KIND_STRING) {
            pairs += put_string(pid, arguments[transfer->arg], to);
            continue;
        }
        if (transfer->kind == KIND_STRINGS) {
            pairs += put_strings(pid, arguments[transfer->arg], to);
            continue;
        }
        struct ranges ranges = {0};
        struct msghdr header;
        if (transfer->kind == KIND_MSGHDR && tracee_read(pid, arguments[transfer->arg], &header, sizeof header) == sizeof header)
            add(&ranges, (uintptr_t)header.msg_iov, (header.msg_iovlen < MAX_VECTORS ? header.msg_iovlen : MAX_VECTORS) * sizeof(struct iovec));
        if (transfer->kind == KIND_IOVEC) {
            uint64_t count = arguments[transfer->count];
            add(&ranges, arguments[transfer->arg], (count < MAX_VECTORS ? count : MAX_VECTORS) * sizeof(struct iovec));
        }
        add_transfer(pid, transfer, arguments, 0, false, &ranges);
        for (size_t j = 0; j < ranges.count; j++) {
            uint8_t data[STRING_LIMIT];
            size_t length = ranges.item[j].iov_len, limit = sizeof data;
            /* The beginning of a buffer will do; but an address of a socket (struct sockaddr_storage) is needed whole. */
            if (transfer->kind == KIND_ARGUMENT && transfer->unit == 1 && length > WHOLE_INPUT) limit = INPUT_PREFIX;
            size_t size = length < limit ? length : limit;
            size_t got = tracee_read(pid, (uintptr_t)ranges.item[j].iov_base, data, size);
            if (!got) continue;
            wire_unsigned(to, (uintptr_t)ranges.item[j].iov_base);
            wire_binary(to, data, got);
            pairs++;
        }
        ranges_free(&ranges);
    }
    return pairs;
}
