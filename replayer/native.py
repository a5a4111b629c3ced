"""Moves by single instructions and to hits of traps, forward and backward.

There is no way back but from a checkpoint forward. The instruction before a place is found by its address where that
can be guessed: the one that lies before it, a jump to it, the call that led to it. From the last time that one was
executed before the place, single steps lead there, and the last but one of them is where we go.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .. import _engine
from .traps import MOST, Hit, Leg, Place, Steps, Ticks, Trap

if TYPE_CHECKING:
    from .session import ReplaySession

_LONGEST_INSTRUCTION = 15
_STEPS_AT_ONCE = 20_000
_FUNCTION_BYTES = 1 << 14
_SYSCALL_BYTES = 2
_CALL_SIZES, _CALL_STARTS = (5, 2, 3, 6, 7, 4), (b"\xe8", b"\xff", b"\x41")
_GUESSES = MOST - 1
"""One debug register is the anchor's. An int3 amid an instruction, as a wrong guess would be, changes the program."""


def address_of(session: ReplaySession, task: int) -> int:
    """Where a task stands in its program. At a system call, behind its instruction."""
    return _engine.shown_at(session.real(task), session.registers(task)["rip"])


def program_memory(session: ReplaySession, task: int, address: int, size: int) -> bytes:
    """Memory of a task as the program would have it without the agent: system call sites are not patched."""
    return _engine.unpatched(session.real(task), address, session.read(task, address, size))


def step(session: ReplaySession, task: int) -> bool:
    """One instruction of a task; a system call is one, whatever other tasks do until it returns. False where the task,
    or the recording, ends first: at the last place of the recording."""
    if task and session.midway == task and session.steps(1)[0]:
        return True
    for event in session.trace.events(session.position):
        if event.task == task and session.hold(event.number + 1) == task:
            return True
        if session.position > event.number and task not in session.tasks:
            return False
    session.seek(session.trace.count)
    return False


def step_back(session: ReplaySession, task: int) -> bool:
    """To before the last instruction of a task. False where its beginning has been reached, and it stays."""
    place = session.place
    if session.midway != task:
        return _behind(session, task, session.position)
    before, steps = place.without_steps()
    if steps == 0 and before.legs in ((), (Ticks(0),)):
        return _behind(session, task, place.position - 1)
    if steps:
        rest = steps - 1
        session.go(before if before.legs and not rest else _with_steps(before, rest))
        return True
    if isinstance(before.legs[-1], Ticks):
        return _before_tick(session, place.position, before.legs[-1].count)
    return _before(session, task, place)


def _before_tick(session: ReplaySession, position: int, ticks: int) -> bool:
    before = Place(position, (Ticks(ticks - 1),))
    session.go(before)
    steps = 0
    while session.ticks is not None and session.ticks < ticks:
        session.check_interrupted()
        steps += session.steps(1)[0]
    session.go(_with_steps(before, steps - 1))
    return True


def _with_steps(place: Place, count: int) -> Place:
    return Place(place.position, (*place.legs, Steps(count)))


def _behind(session: ReplaySession, task: int, number: int) -> bool:
    """The last instruction of a task before event `number`; its system call, where it is in one."""
    here = session.place
    session.seek(number)
    previous = session.find(lambda event: event.task == task, backward=True)
    if previous is None or task not in session.tasks:
        session.go(here)
        return False
    stop, address = session.stop(task), address_of(session, task)
    if stop == "none":
        if session.hold(previous + 1) == task:
            return True
        return _behind(session, task, previous)
    if session.signal(task) != signal.SIGTRAP:  # which comes behind its instruction
        trap = Trap(address - (_SYSCALL_BYTES if stop == "call" else 0), 1, "execute", task)
        session.seek(previous)
        hits = [hit for hit in session.hits([trap], Place(previous + 1)) if hit.place.position == previous + 1]
        if stop in ("tick", "place"):  # it has not executed what lies there; at a place the trap has been met
            hits = hits[:-1] if stop == "place" else hits
            base = hits[-1].place if hits else Place(previous + 1, (Steps(0),))
            return _to_last(session, base) or _behind(session, task, previous)
        if hits:
            session.go(hits[-1].place)
            return True
    if session.hold(previous + 1) != task:
        session.go(here)  # the first thing that is known of the task
        return False
    steps = 0
    while session.midway:
        session.check_interrupted()
        session.keep()
        steps += session.steps(_STEPS_AT_ONCE)[0]
    session.go(Place(previous + 1, (Steps(steps),)))
    return True


def _to_last(session: ReplaySession, base: Place) -> bool:
    """To the last instruction of a run that has come to a place. False where that is its end."""
    session.go(base)
    steps = 0
    while session.midway:
        session.check_interrupted()
        steps += session.steps(_STEPS_AT_ONCE)[0]
    if steps:
        session.go(_with_steps(base, steps - 1) if steps > 1 else base)
    return steps > 0


def _before(session: ReplaySession, task: int, place: Place) -> bool:
    """To the instruction before a place that is the hit of a trap."""
    place = session.simplified(place)
    anchor = place.legs[-1]
    assert isinstance(anchor, Leg)
    guesses = [Trap(address, 1, "execute", task) for address in _guesses(session, task)]
    begin = place.at_tick(place.ticks) if place.ticks else Place(place.position, (Steps(0),))
    base, past = begin, 0
    if guesses:
        session.go(place.root)
        hits = hits_before(session, [anchor.trap, *guesses], place)
        hits = [hit for hit in hits if hit.place.position == place.position]
        last = max((i for i, hit in enumerate(hits) if hit.index), default=None)
        if last is not None:
            base, past = hits[last].place, sum(hit.index == 0 for hit in hits[: last + 1])
    if base == Place(place.position, (Steps(0),)):
        past += len(session.hold_and_watch(place.position, [anchor.trap]))
    else:
        session.go(base)
    steps = _count_steps(session, anchor.trap, anchor.count - past) if anchor.count > past else 0
    if not steps:
        return _behind(session, task, place.position - 1)
    session.go(base if base.legs[-1] != Steps(0) and steps == 1 else base.on(Steps(steps - 1)))
    return True


def _count_steps(session: ReplaySession, trap: Trap, hits: int) -> int:
    """How many steps lead from here to a hit."""
    steps = 0
    while True:
        session.check_interrupted()
        session.keep()
        made, found = session.steps(_STEPS_AT_ONCE, [trap], hits)
        steps += made
        hits -= len(found)
        if not hits:
            return steps
        if not session.midway:
            raise RuntimeError("a hit is missing")


def hits_before(session: ReplaySession, traps: Sequence[Trap], place: Place) -> list[Hit]:
    """As `ReplaySession.hits`, also to places that are told by steps. What the last instruction before the place has
    written is among them."""
    before, steps = place.without_steps()
    if before.legs or before == place:
        found = session.hits(list(traps), before)
        last = before.legs[-1] if before.legs else None
        if isinstance(last, Leg) and last.trap.kind == "write" and last.trap in traps:
            found.append(Hit(list(traps).index(last.trap), session.place, 0))
    else:
        found = session.hits(list(traps), Place(place.position - 1))
        found += [Hit(index, session.place, 0) for index in session.hold_and_watch(place.position, traps)]
    here = session.place
    if steps:
        for index, count in session.steps(steps - 1, traps)[1]:
            found.append(Hit(index, Place(here.position, (*here.legs, Leg(traps[index], count))), 0))
        written = [index for index, _ in session.steps(1, traps)[1] if traps[index].kind == "write"]
        found += [Hit(index, session.place, 0) for index in written]
    session.go(place)
    return found


def run_on(
    session: ReplaySession, traps: Sequence[Trap], accept: Callable[[Trap, int], bool], last: int | None = None
) -> Trap | None:
    """Forward to the next hit of a trap that `accept(trap, task)` accepts there; None where there is none up to
    position `last`, or the end."""
    while hit := session.run_to(list(traps), last):
        for index in hit:
            if accept(traps[index], session.midway):
                return traps[index]
    return None


def run_back(
    session: ReplaySession, traps: Sequence[Trap], accept: Callable[[Trap, int], bool], first: int = 0
) -> Trap | None:
    """Backward to the last hit of a trap that is accepted, of a watched write to before it; None where there is none
    back to position `first`, where it goes."""
    end = session.place
    while end.position > first:
        earlier = end.position - 1 if end.legs else end.position
        start = max(first, session.checkpoints.before(max(0, earlier - (not end.legs))).position)
        session.seek(start)
        hits = hits_before(session, traps, end)
        for hit in reversed(hits):
            trap = traps[hit.index]
            session.go(hit.place)
            if accept(trap, session.midway):
                if trap.kind == "write":
                    step_back(session, session.midway)
                return trap
        end = Place(start)
    session.seek(first)
    return None


def _guesses(session: ReplaySession, task: int) -> list[int]:
    """Addresses of instructions that may have been executed last, the likeliest first."""
    import capstone

    here = address_of(session, task)
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    start = max(here - _FUNCTION_BYTES // 2, 0)
    while start < here and not session.read(task, start, 1):
        start = (start // 4096 + 1) * 4096
    code = program_memory(session, task, start, _FUNCTION_BYTES)
    found = []
    # A sequence of instructions that begins well before: it falls into step with the program's.
    begin = here - start - 64 if here - start > 64 else 0
    sizes = {i.address: i.size for i in decoder.disasm(code[begin : here - start], start + begin)}
    found += [address for address, size in sizes.items() if address + size == here]
    for size in range(1, min(_LONGEST_INSTRUCTION, here - start) + 1):
        one = next(decoder.disasm(code[here - start - size : here - start], here - size, 1), None)
        if one is not None and one.size == size and here - size not in found:
            found.append(here - size)
    returns = int.from_bytes(session.read(task, session.registers(task)["rsp"], 8), "little")
    near = []
    for at in range(len(code)):
        if code[at] == 0xEB or 0x70 <= code[at] <= 0x7F:
            target = at + 2 + (code[at + 1] ^ 0x80) - 0x80 if at + 1 < len(code) else -1
        elif code[at] == 0xE9 or (code[at] == 0x0F and at + 1 < len(code) and 0x80 <= code[at + 1] <= 0x8F):
            size = 5 if code[at] == 0xE9 else 6
            target = at + size + int.from_bytes(code[at + size - 4 : at + size], "little", signed=True)
        else:
            continue
        if start + target == here:
            near.append(start + at)
    calls = [returns - size for size in _CALL_SIZES if session.read(task, returns - size, 1) in _CALL_STARTS]
    called = [address for address in calls if _calls(session, task, decoder, address, returns)]
    return (found[:1] + called[:1] + near + found[1:])[:_GUESSES]


def _calls(session: ReplaySession, task: int, decoder: object, address: int, behind: int) -> bool:
    code = program_memory(session, task, address, behind - address)
    one = next(decoder.disasm(code, address, 1), None)  # type: ignore[attr-defined]
    return one is not None and one.mnemonic == "call" and one.size == behind - address
