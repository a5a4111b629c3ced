"""The short ways into a recording and a replay understand a command line as click does, or leave it to click."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrr_debugger.commands import record, replay
from pyrr_debugger.recorder.launch import Request, plain_request
from pyrr_debugger.replayer import launch as replaying


def by_click(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> Request | replaying.Request | None:
    seen: list[Request | replaying.Request] = []
    monkeypatch.setattr(record, "record", seen.append)
    monkeypatch.setattr(replay, "replay", seen.append)
    command = record.command if words[0] == "record" else replay.command
    try:
        command.main(words[1:], standalone_mode=False)
    except click.ClickException:
        return None
    return seen[0] if seen else None


OPTIONS = ["-q", "--quiet", "-o", "--output", "--output=x", "-qo", "-ox", "--", "-", "--help", "--quie"]
WORDS = st.sampled_from([*OPTIONS, "python", "-c", "pass", ""])


@given(words=st.lists(WORDS, max_size=6))
def test_what_is_understood_without_click_is_what_click_understands(words: list[str]) -> None:
    understood = plain_request(["record", *words])
    if understood is not None:
        with pytest.MonkeyPatch.context() as patch:
            assert by_click(patch, ["record", *words]) == understood


REPLAY_OPTIONS = ["--to", "--to=5", "--json", "--process", "--process=1", "--", "-", "-h", "--t", "-t"]


@given(words=st.lists(st.sampled_from([*REPLAY_OPTIONS, "trace", "7", "-7", ""]), max_size=5))
def test_what_is_understood_of_a_replay_without_click_is_what_click_understands(words: list[str]) -> None:
    understood = replaying.plain_request(["replay", *words])
    if understood is not None:
        with pytest.MonkeyPatch.context() as patch:
            assert by_click(patch, ["replay", *words]) == understood


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ([], replaying.Request()),
        (["trace"], replaying.Request("trace")),
        (["--to", "-3", "trace", "--json"], replaying.Request("trace", "-3", None, True)),
    ],
)
def test_common_replays_go_the_short_way(words: list[str], request_: replaying.Request) -> None:
    assert replaying.plain_request(["replay", *words]) == request_


@pytest.mark.parametrize("line", ["", "record x", "replay --help", "replay a b", "replay --to", "replay --process 7"])
def test_other_replays_are_left_to_click(line: str) -> None:
    assert replaying.plain_request(line.split()) is None


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["python", "-c", "pass"], Request(("python", "-c", "pass"))),
        (["-q", "-o", "t", "--", "ls", "-q"], Request(("ls", "-q"), "t", True)),
        (["--output", "t", "ls", "--", "x"], Request(("ls", "--", "x"), "t")),
    ],
)
def test_common_command_lines_go_the_short_way(words: list[str], request_: Request) -> None:
    assert plain_request(["record", *words]) == request_


@pytest.mark.parametrize("line", ["", "record", "replay x", "record --help", "record -o", "record --"])
def test_other_command_lines_are_left_to_click(line: str) -> None:
    assert plain_request(line.split()) is None
