"""Clocks, timers and sleeping. (Not called time: that name belongs to the standard library.)"""

from __future__ import annotations

from .notation import row
from .spec import Effect, Row

ROWS: tuple[Row, ...] = (
    row(201, "time", ">time_cell tloc", result="long"),
    row(96, "gettimeofday", ">timeval tv, >timezone tz"),
    row(164, "settimeofday", "<timeval tv, <timezone tz", source="gettimeofday"),
    row(228, "clock_gettime", "clockid clockid, >timespec tp", source="clock_getres"),
    row(227, "clock_settime", "clockid clockid, <timespec tp", source="clock_getres"),
    row(229, "clock_getres", "clockid clockid, >timespec res"),
    row(35, "nanosleep", "<timespec req, >?timespec rem", blocks=True),
    row(
        230,
        "clock_nanosleep",
        "clockid clockid, timer_flags flags, <timespec request, >?timespec remain",
        blocks=True,
    ),
    row(159, "adjtimex", "<>timex buf"),
    row(305, "clock_adjtime", "clockid clk_id, <>timex buf", source="adjtimex"),
    row(100, "times", ">tms buf", result="long"),
    row(37, "alarm", "uint seconds", effect=Effect.TIMER),
    row(36, "getitimer", "itimer_which which, >itimerval curr_value"),
    # The new timer is armed before the old value is written, which may fail.
    row(
        38,
        "setitimer",
        "itimer_which which, <itimerval new_value, >!itimerval old_value",
        effect=Effect.TIMER,
        source="getitimer",
    ),
    row(222, "timer_create", "clockid clockid, <sigevent sevp, >i32 timerid", effect=Effect.TIMER),
    row(
        223,
        "timer_settime",
        "int timerid, timer_flags flags, <itimerspec new_value, >!itimerspec old_value",
        effect=Effect.TIMER,
    ),
    row(224, "timer_gettime", "int timerid, >itimerspec curr_value", source="timer_settime"),
    row(225, "timer_getoverrun", "int timerid"),
    row(226, "timer_delete", "int timerid", effect=Effect.TIMER),
    row(283, "timerfd_create", "clockid clockid, timerfd_create_flags flags", effect=Effect.OPEN, result="fd"),
    row(
        286,
        "timerfd_settime",
        "fd fd, timerfd_flags flags, <itimerspec new_value, >!itimerspec old_value",
        effect=Effect.TIMER,
        source="timerfd_create",
    ),
    row(287, "timerfd_gettime", "fd fd, >itimerspec curr_value", source="timerfd_create"),
)
