#include "event.h"

void wire_head(struct buffer *buffer, unsigned kind, pid_t task, uint64_t delta, size_t items)
{
    wire_array(buffer, NUMBERS_IN_HEAD + items);
    wire_unsigned(buffer, kind);
    wire_unsigned(buffer, (uint64_t)task);
    wire_unsigned(buffer, delta);
}

void wire_call_start(struct buffer *buffer, const struct call_start *start)
{
    wire_unsigned(buffer, start->number);
    wire_signed(buffer, start->result);
    wire_unsigned(buffer, start->site);
    wire_array(buffer, start->argument_count);
    for (unsigned i = 0; i < start->argument_count; i++) wire_unsigned(buffer, start->arguments[i]);
    wire_array(buffer, 2 * start->input_pairs);
    buffer_append(buffer, start->inputs->data, start->inputs->size);
}

struct head read_head(struct cursor *cursor)
{
    struct head head = {0};
    head.items = read_array(cursor);
    if (head.items < NUMBERS_IN_HEAD) cursor->bad = true;
    head.kind = (unsigned)read_unsigned(cursor);
    head.task = (pid_t)read_unsigned(cursor);
    head.delta = read_unsigned(cursor);
    return head;
}

static struct cursor here(struct cursor *cursor)
{
    struct cursor start = *cursor;
    read_skip(cursor);
    start.end = cursor->at;
    return start;
}

struct call read_call(struct cursor *cursor, size_t items)
{
    struct call call = {0};
    call.number = read_unsigned(cursor);
    call.result = read_signed(cursor);
    call.site = read_unsigned(cursor);
    call.argument_count = read_array(cursor);
    if (call.argument_count > 6) cursor->bad = true;
    for (size_t i = 0; !cursor->bad && i < call.argument_count; i++) call.arguments[i] = read_unsigned(cursor);
    call.inputs = here(cursor);
    call.outputs = here(cursor);
    if (items > ITEMS_OF_CALL) call.stream = (unsigned)read_unsigned(cursor);
    if (items > ITEMS_OF_CALL + 1) call.sent = read_binary(cursor, &call.sent_size);
    return call;
}

void wire_reference(struct buffer *buffer, size_t distance, size_t size)
{
    wire_array(buffer, 2);
    wire_unsigned(buffer, distance);
    wire_unsigned(buffer, size);
}

const uint8_t *read_output(struct cursor *cursor, const struct origin *origin, size_t *size)
{
    if (at_binary(cursor)) return read_binary(cursor, size);
    struct cursor inside = *cursor;
    read_skip(cursor);
    *size = 0;
    size_t items = read_array(&inside);
    uint64_t distance = read_unsigned(&inside);
    /* Others of two items have bytes for the second. */
    if (cursor->bad || items != 2 || inside.bad || at_binary(&inside)) return NULL;
    uint64_t length = read_unsigned(&inside);
    if (inside.bad || distance > (uint64_t)(origin->event - origin->chunk) || length > distance) {
        cursor->bad = true;
        return NULL;
    }
    *size = length;
    return origin->event - distance;
}

bool has_plain_outputs(const struct call *call, const struct origin *origin, const uint8_t **earliest)
{
    struct cursor cursor = call->outputs;
    size_t count = read_array(&cursor), size;
    for (size_t i = 0; i + 1 < count; i += 2) {
        read_skip(&cursor);
        const uint8_t *data = read_output(&cursor, origin, &size);
        if (!data) return false;
        if (data < *earliest) *earliest = data;
    }
    return !cursor.bad;
}

void append_expanded(struct buffer *to, struct cursor *cursor, const uint8_t *chunk)
{
    const struct origin origin = {chunk, cursor->at};
    struct cursor event = *cursor;
    read_skip(cursor);
    struct head head = read_head(&event);
    struct call call = head.kind == EVENT_SYSCALL ? read_call(&event, head.items) : (struct call){.outputs = event};
    struct cursor outputs = call.outputs;
    buffer_append(to, origin.event, (size_t)(outputs.at - origin.event));
    if (head.kind == EVENT_SYSCALL) {
        size_t count = read_array(&outputs), size;
        wire_array(to, count);
        for (size_t i = 0; i + 1 < count && !outputs.bad; i += 2) {
            wire_unsigned(to, read_unsigned(&outputs));
            const uint8_t *item = outputs.at, *data = read_output(&outputs, &origin, &size);
            if (data) wire_binary(to, data, size);
            else buffer_append(to, item, (size_t)(outputs.at - item));
        }
        outputs.at = call.outputs.end;
    }
    if (outputs.bad || event.bad || cursor->bad) cursor->bad = true;
    else buffer_append(to, outputs.at, (size_t)(cursor->at - outputs.at));
}
