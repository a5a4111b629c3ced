"""Packed traces: one file that every command takes, that says when it is damaged, without what it is to leave out."""

from __future__ import annotations

import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import msgpack
import pytest
import zstandard
from harness import Result, Surroundings

from pyrr_debugger.errors import TraceError
from pyrr_debugger.redaction import environment_of
from pyrr_debugger.trace_reader import TraceReader

SECRET, FILE_SECRET = "correct-horse-battery", "file-secret-4711-abcdef"
PROGRAM = """
import os, sys
import victim_module
with open(sys.argv[1]) as file:
    words = file.read().split()
os.write(3, (os.environ["API_TOKEN"] + words[-1]).encode())
print(victim_module.answer(), os.environ["SHORT"] and "set", len(words), flush=True)
"""
MODULE = "def answer():\n    return 6 * 7\n"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trace, the program it is of, and the pack; the program's own files are gone."""
    folder = tmp_path_factory.mktemp("pack")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "victim_module.py").write_text(MODULE)
    (folder / "secrets").write_text(f"user = someone\npassword = {FILE_SECRET}\n")
    environment = harness.victim_environment(folder)
    around = Surroundings(env={**environment, "API_TOKEN": SECRET, "SHORT": "1"}, cwd=folder)
    python = next(one for one in harness.interpreters() if one.runs_pytest)
    command = ["sh", "-c", 'exec "$0" program.py secrets 3>out', python.path]
    recording = harness.record(folder / "trace", *command, around=around)
    assert recording.stdout == b"42 set 6\n", str(recording)
    packed = harness.pyrr("pack", folder / "trace", "-o", folder / "t.pyrr")
    assert packed.status == 0, str(packed)
    (folder / "redacted").mkdir()
    words = ["--redact", "*TOKEN*", "--redact", "SHORT", "--redact-file", "*/secrets"]
    redacting = harness.pyrr("pack", folder / "trace", "-o", folder / "redacted" / "t.pyrr", *words)
    assert redacting.status == 0, str(redacting)
    shutil.move(folder / "victim_module.py", folder / "moved")
    return folder


def assert_refused(result: Result) -> None:
    assert result.status == 2, str(result)
    assert len(result.stderr.splitlines()) == 1, str(result)
    assert b"damaged" in result.stderr or b"not" in result.stderr


# ---- use ----


def test_commands_take_the_file_as_they_take_a_folder(recorded: Path) -> None:
    assert harness.replay(recorded / "t.pyrr").stdout == b"42 set 6\n"
    assert harness.dump(recorded / "t.pyrr") == harness.dump(recorded / "trace")
    for words in (["ps"], ["state", "--to", "-2"]):
        result = harness.pyrr(words[0], recorded / "t.pyrr", *words[1:])
        assert result.status == 0, str(result)


def test_the_sources_are_in_it(recorded: Path) -> None:
    found = harness.pyrr("replay", recorded / "t.pyrr", "--to", "output:/^42/")
    assert b'print(victim_module.answer(), os.environ["SHORT"]' in found.stdout
    with TraceReader(recorded / "t.pyrr") as trace:
        assert trace.source(str(recorded / "victim_module.py")) == MODULE.encode()
        assert trace.source("/nowhere.py") is None
    assert harness.info(recorded / "t.pyrr")["sources"] > 2


def test_unzip_gives_the_folder(recorded: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(recorded / "t.pyrr") as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "trace")
    assert harness.replay(tmp_path / "trace").stdout == b"42 set 6\n"


def test_a_pack_is_packed_again(recorded: Path, tmp_path: Path) -> None:
    assert harness.pyrr("pack", recorded / "t.pyrr", "-o", tmp_path / "again.pyrr").status == 0
    with TraceReader(tmp_path / "again.pyrr") as trace:
        assert trace.source(str(recorded / "victim_module.py")) == MODULE.encode()


def test_a_file_that_is_there_is_kept(recorded: Path, tmp_path: Path) -> None:
    target = tmp_path / "t.pyrr"
    target.write_text("mine")
    result = harness.pyrr("pack", recorded / "trace", "-o", target)
    assert result.status == 2
    assert target.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["t.pyrr"]


def test_it_is_private_listed_and_removed(recorded: Path, tmp_path: Path) -> None:
    target = tmp_path / "one.pyrr"
    shutil.copy(recorded / "t.pyrr", target)
    assert (recorded / "t.pyrr").stat().st_mode & 0o777 == 0o600
    around = Surroundings(env={**harness.victim_environment(tmp_path), "PYRR_TRACE_DIR": str(tmp_path)})
    assert b"one.pyrr" in harness.pyrr("ls", around=around).stdout
    assert harness.pyrr("replay", "one.pyrr", around=around).stdout == b"42 set 6\n"
    assert harness.pyrr("rm", "one.pyrr", around=around).status == 0
    assert not target.exists()
    other = tmp_path / "other.pyrr"
    other.write_text("not a trace")
    assert harness.pyrr("rm", str(other), around=around).status == 2
    assert other.exists()


# ---- other machines ----


def rewritten(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A pack with other members."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return target


def test_another_processor_is_named(recorded: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        header = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(members["header"]), strict_map_key=False)
        header["cpu"] |= {"vendor": "CentaurHauls"}
        members["header"] = zstandard.ZstdCompressor(write_checksum=True).compress(msgpack.packb(header))

    result = harness.replay(rewritten(recorded / "t.pyrr", tmp_path / "t.pyrr", change))
    assert result.status == 2, str(result)
    assert b"was recorded on another processor" in result.stderr
    assert b"the recorded one of CentaurHauls" in result.stderr
    assert b"Traceback" not in result.stderr


# ---- damage ----


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.999, 0.999999])
def test_one_that_was_cut(recorded: Path, tmp_path: Path, share: float) -> None:
    data = (recorded / "t.pyrr").read_bytes()
    (tmp_path / "t.pyrr").write_bytes(data[: int(len(data) * share)])
    assert_refused(harness.pyrr("info", tmp_path / "t.pyrr"))


def test_one_with_bytes_behind_its_end(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "t.pyrr").write_bytes((recorded / "t.pyrr").read_bytes() + b"\0")
    assert_refused(harness.pyrr("info", tmp_path / "t.pyrr"))


def directory_of(data: bytes) -> int:
    """Where the list of members of a small pack begins."""
    offset: int = struct.unpack_from("<I", data, len(data) - 6)[0]
    return offset


def read_all(path: Path) -> None:
    with TraceReader(path) as trace:
        trace.check()
        trace.check_files()


def members_of(path: Path) -> tuple[dict[str, object], int, list[tuple[str, int, bytes]]]:
    """What the list of members says, without the content of all: the beginning of each tells which it is."""
    found = []
    with TraceReader(path) as trace:
        for hash_ in trace.files():
            with trace.packed_file(hash_) as part:
                found.append((hash_, part.size, part.pread(64, 0)))
        return trace.header, trace.event_size, found


def test_damage_anywhere_in_the_list_of_members_is_seen_or_does_not_matter(recorded: Path, tmp_path: Path) -> None:
    data = (recorded / "t.pyrr").read_bytes()
    expected = members_of(recorded / "t.pyrr")
    chance = random.Random(11)
    start = directory_of(data)
    places = [*range(len(data) - 22, len(data)), *(chance.randrange(start, len(data)) for _ in range(200))]
    seen = 0
    path = Path(shutil.copy(recorded / "t.pyrr", tmp_path))
    for place in places:
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([data[place] ^ 1 << chance.randrange(8)]))
        try:
            assert members_of(path) == expected
        except TraceError:
            seen += 1
        finally:
            with path.open("r+b") as file:
                file.seek(place)
                file.write(data[place : place + 1])
    assert seen > len(places) / 3


def test_damage_in_a_member_is_seen(recorded: Path, tmp_path: Path) -> None:
    data = (recorded / "t.pyrr").read_bytes()
    with zipfile.ZipFile(recorded / "t.pyrr") as archive:
        members = archive.infolist()
    for member in random.Random(7).sample(members, 6) + [one for one in members if "/" not in one.filename]:
        changed = bytearray(data)
        changed[member.header_offset + 30 + len(member.filename) + member.file_size // 2] ^= 0x40
        (tmp_path / "t.pyrr").write_bytes(changed)
        with pytest.raises(TraceError):
            read_all(tmp_path / "t.pyrr")


def archive_of(path: Path, members: Iterator[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return path


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "files/../../escaped", "files/", "files/a/b", "other", "files/\\escaped"]
)
def test_members_that_do_not_belong_are_refused(recorded: Path, tmp_path: Path, name: str) -> None:
    changed = rewritten(recorded / "t.pyrr", tmp_path / "t.pyrr", lambda members: members.update({name: b"bad"}))
    assert_refused(harness.pyrr("info", changed))
    assert [path.name for path in tmp_path.iterdir()] == ["t.pyrr"]


def test_what_is_compressed_missing_or_larger_than_the_file_is_refused(recorded: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(recorded / "t.pyrr") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    compressed = archive_of(tmp_path / "compressed", iter(members.items()), zipfile.ZIP_DEFLATED)
    without = archive_of(tmp_path / "without", ((n, d) for n, d in members.items() if n != "events"))
    data = bytearray((recorded / "t.pyrr").read_bytes())
    at = directory_of(data)
    data[at + 20 : at + 28] = struct.pack("<II", 0x7FFFFFFF, 0x7FFFFFFF)
    (tmp_path / "larger").write_bytes(data)
    for path in (compressed, without, tmp_path / "larger"):
        with pytest.raises(TraceError):
            TraceReader(path)


@pytest.mark.parametrize("content", [b"", b"PK\5\6", b"PK\5\6" + bytes(18), b"x" * 5000, b"PK\3\4" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.pyrr").write_bytes(content)
    assert_refused(harness.pyrr("replay", tmp_path / "t.pyrr"))


# ---- what is left out ----


def everything(path: Path) -> Iterator[bytes]:
    """All bytes of a trace, decompressed."""
    with TraceReader(path) as trace:
        yield msgpack.packb(trace.header)
        for index in range(len(trace.chunks)):
            yield trace.data_of(index)
        for hash_ in trace.files():
            yield trace.file(hash_)


def test_the_values_are_nowhere(recorded: Path) -> None:
    secrets = [secret.encode() for secret in (SECRET, FILE_SECRET)]
    assert all(any(secret in data for data in everything(recorded / "t.pyrr")) for secret in secrets)
    assert not any(secret in data for data in everything(recorded / "redacted" / "t.pyrr") for secret in secrets)
    with TraceReader(recorded / "redacted" / "t.pyrr") as trace:
        environment = environment_of(next(iter(trace.events())))  # type: ignore[arg-type]
    assert b"SHORT=x" in environment
    assert b"API_TOKEN=xxxxxxx-xxxxx-xxxxxxx" in environment
    assert any(text.startswith(b"HOME=/") for text in environment)


def test_what_is_redacted_still_replays_and_info_says_so(recorded: Path) -> None:
    path = recorded / "redacted" / "t.pyrr"
    assert harness.replay(path).stdout == b"42 set 6\n"
    facts = harness.info(path)
    assert facts["redacted"] == {
        "variables": ["API_TOKEN", "SHORT"],
        "files": [str(recorded / "secrets")],
        "stops_at": None,
    }
    assert any("it is redacted: API_TOKEN, SHORT" in warning for warning in facts["warnings"])


def test_a_program_that_computes_with_a_value(tmp_path: Path) -> None:
    python = next(one for one in harness.interpreters() if one.runs_pytest)
    environment = {**harness.victim_environment(tmp_path), "KEY": "1234567"}
    around = Surroundings(env=environment, cwd=tmp_path)
    program = "import os; print('begun', flush=True); print(int(os.environ['KEY']) + 1)"
    harness.record(tmp_path / "trace", python.path, "-c", program, around=around)
    result = harness.pyrr("pack", tmp_path / "trace", "-o", tmp_path / "t.pyrr", "--redact", "KEY")
    assert result.status == 0, str(result)
    assert b"a replay comes as far as event" in result.stderr
    stop = harness.info(tmp_path / "t.pyrr")["redacted"]["stops_at"]
    assert harness.pyrr("replay", tmp_path / "t.pyrr", "--to", str(stop)).status == 0
    assert harness.replay(tmp_path / "t.pyrr").status == 3
