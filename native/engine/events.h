/* The kinds of events, as docs/trace-format.md numbers them. pyrr_debugger.events asserts the same numbers. */
#ifndef PYRR_EVENTS_H
#define PYRR_EVENTS_H

enum event_kind {
    EVENT_SYSCALL = 0,
    EVENT_EXEC = 1,
    EVENT_SIGNAL = 2,
    EVENT_SPAWN = 3,
    EVENT_EXIT = 4,
    EVENT_INSTRUCTION = 5,
    EVENT_CHECKSUM = 6,
    EVENT_END = 7,
    EVENT_NOTE = 8,
    EVENT_START = 9,
    EVENT_LEAVE = 10,
    EVENT_STOPPED = 11,
    EVENT_CONTINUED = 12,
    EVENT_TICK = 13,
    EVENT_FAULT = 14,
    EVENT_BRANCH = 15,
};

/* Where a signal found the task: behind its last event, at the entry of its next system call, or at its own fault. */
enum signal_place { PLACE_BEHIND_EVENT = 0, PLACE_AT_ENTRY = 1, PLACE_FAULT = 2 };

#endif
