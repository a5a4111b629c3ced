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
    read_unsigned(cursor);
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
