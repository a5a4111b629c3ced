"""Whether a loop waits for another task, told from one turn of it (recorder/spin.py)."""

from __future__ import annotations

import pytest

from pyrr_debugger.recorder import spin
from pyrr_debugger.registers import LAYOUT, NAMES

CODE, COUNTER, FLAG = 0x1000, 0x8000, 0x9000

# Instructions of loops: rdi is the counter's address, rsi the flag's. All come back to their registers.
COUNTS = ["48ff07", "8b06", "85c0", "74f7"]  # inc qword [rdi]; mov eax, [rsi]; test eax, eax; je
COUNTS_UNOPTIMISED = ["8b07", "83c001", "8907", "8b06", "85c0", "74f3"]  # mov eax, [rdi]; add eax, 1; mov [rdi], eax
COUNTS_DOWN = ["48ff0f", "75fb"]  # dec qword [rdi]; jne
FILLS = ["488b07", "c6040601", "48ff07", "31c0", "ebf2"]  # mov rax, [rdi]; mov byte [rsi + rax], 1; inc [rdi]; xor; jmp
COPIES = ["8b07", "8906", "ff07", "31c0", "ebf6"]  # mov eax, [rdi]; mov [rsi], eax; inc dword [rdi]; xor eax, eax; jmp
EXCHANGES = ["b801000000", "8707", "85c0", "75f5"]  # mov eax, 1; xchg [rdi], eax; test eax, eax; jne
CALLS = ["e8fbffffff", "8b06", "c3", "85c0", "74f4"]  # call; mov eax, [rsi]; ret; test eax, eax; je


def turn_of(instructions: list[str]) -> spin.Turn | None:
    """One turn, the instructions one behind the other in memory."""
    memory, states, at = b"", b"", CODE
    for code in instructions:
        registers = dict.fromkeys(NAMES, 0) | {"rip": at, "rdi": COUNTER, "rsi": FLAG, "rsp": 0x7000}
        if instructions is CALLS and len(memory) in (5, 7):
            registers["rsp"] -= 8
        states += LAYOUT.pack(*registers.values())
        memory += bytes.fromhex(code)
        at = CODE + len(memory)
    return spin.turn(states, lambda address, size: memory[address - CODE : address - CODE + size])


@pytest.mark.parametrize("loop", [COUNTS, COUNTS_UNOPTIMISED], ids=["counts", "unoptimised"])
def test_a_counter_does_not_matter(loop: list[str]) -> None:
    turn = turn_of(loop)
    assert turn
    (counter,) = turn.written
    assert counter[0] == COUNTER
    assert not turn.depends_on([counter])
    assert spin.without(turn.used, [counter]) == [(FLAG, 4)]


@pytest.mark.parametrize("loop", [COUNTS_DOWN, FILLS, COPIES, EXCHANGES], ids=["jumps", "fills", "copies", "exchanges"])
def test_what_is_changed_matters(loop: list[str]) -> None:
    """Where it goes on, where it writes, what it writes elsewhere."""
    turn = turn_of(loop)
    assert turn
    assert turn.depends_on([part for part in turn.written if part[0] == COUNTER])


def test_nothing_changes() -> None:
    """A lock that somebody has is taken anew each time: what a turn leaves is what it has found."""
    turn = turn_of(EXCHANGES)
    assert turn
    assert not turn.depends_on([])
    assert spin.without(turn.used, []) == [(COUNTER, 4)]


def test_a_call_uses_the_stack() -> None:
    turn = turn_of(CALLS)
    assert turn
    assert turn.written == [(0x6FF8, 8)]
    assert not turn.depends_on([])
    assert turn.depends_on(turn.written)


@pytest.mark.parametrize("code", ["f3a4", "0f1007", "c5fe7f07", "d91f", "0fab07"])
def test_what_cannot_be_told(code: str) -> None:
    """rep movsb; movups xmm0, [rdi]; vmovdqu [rdi], ymm0; fstp; bts [rdi], eax."""
    assert turn_of([code, "ebfc"]) is None
