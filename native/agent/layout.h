/* Places for entry.S and the linker; agent.c asserts the offsets. */
#ifndef PYRR_AGENT_LAYOUT_H
#define PYRR_AGENT_LAYOUT_H

#include "../stub/gate.h"

#define AGENT_PLACE (GATE_PAGE + 0x10000)
#define STATE_PLACE (AGENT_PLACE + 0x70000)

#define STATE_TARGET 720
#define STATE_RSP 728
#define STATE_ATTENTION 120
#define STATE_STACK_TOP 0x11000
#define CALLED_OFF -0x10000

/* Values of `attention`: the next call is to stop; the hook's end is, too. */
#define ATTENTION 1
#define ATTENTION_LEAVE 2

#endif
