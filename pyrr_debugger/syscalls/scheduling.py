"""Scheduling: policies, priorities, processors."""

from __future__ import annotations

from .notation import row
from .spec import Row

ROWS: tuple[Row, ...] = (
    row(24, "sched_yield", blocks=True),
    row(142, "sched_setparam", "pid pid, <sched_param param"),
    row(143, "sched_getparam", "pid pid, >sched_param param", source="sched_setparam"),
    row(144, "sched_setscheduler", "pid pid, sched_policy policy, <sched_param param"),
    row(145, "sched_getscheduler", "pid pid", result="sched_policy", source="sched_setscheduler"),
    row(146, "sched_get_priority_max", "sched_policy policy"),
    row(147, "sched_get_priority_min", "sched_policy policy"),
    row(148, "sched_rr_get_interval", "pid pid, >timespec tp"),
    row(203, "sched_setaffinity", "pid pid, uint cpusetsize, <cpu_set[cpusetsize] mask"),
    row(204, "sched_getaffinity", "pid pid, uint cpusetsize, >cpu_set[result/cpusetsize] mask"),
    # The size which the kernel would have liked is written when it is too small (E2BIG).
    row(314, "sched_setattr", "pid pid, <>?sched_attr attr, uint flags"),
    row(315, "sched_getattr", "pid pid, >bytes[size] attr, uint size, uint flags", source="sched_setattr"),
    row(140, "getpriority", "priority_which which, id who"),
    row(141, "setpriority", "priority_which which, id who, int prio", source="getpriority"),
    row(251, "ioprio_set", "ioprio_which which, id who, hex ioprio"),
    row(252, "ioprio_get", "ioprio_which which, id who", result="hex", source="ioprio_set"),
    row(309, "getcpu", ">u32 cpu, >u32 node, address tcache"),
)
