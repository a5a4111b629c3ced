"""Users, groups, capabilities and limits."""

from __future__ import annotations

from .notation import row
from .spec import Effect, Row

ROWS: tuple[Row, ...] = (
    row(102, "getuid", result="uid"),
    row(104, "getgid", result="gid"),
    row(107, "geteuid", result="uid", source="getuid"),
    row(108, "getegid", result="gid", source="getgid"),
    row(105, "setuid", "uid uid", effect=Effect.CREDENTIAL),
    row(106, "setgid", "gid gid", effect=Effect.CREDENTIAL),
    row(113, "setreuid", "uid ruid, uid euid", effect=Effect.CREDENTIAL),
    row(114, "setregid", "gid rgid, gid egid", effect=Effect.CREDENTIAL, source="setreuid"),
    row(117, "setresuid", "uid ruid, uid euid, uid suid", effect=Effect.CREDENTIAL),
    row(118, "getresuid", ">uid_cell ruid, >uid_cell euid, >uid_cell suid"),
    row(119, "setresgid", "gid rgid, gid egid, gid sgid", effect=Effect.CREDENTIAL, source="setresuid"),
    row(120, "getresgid", ">gid_cell rgid, >gid_cell egid, >gid_cell sgid", source="getresuid"),
    row(122, "setfsuid", "uid fsuid", effect=Effect.CREDENTIAL, result="uid"),
    row(123, "setfsgid", "gid fsgid", effect=Effect.CREDENTIAL, result="gid"),
    # With size 0 only the number of groups is answered.
    row(115, "getgroups", "int size, >gid_cell[result/size] list"),
    row(116, "setgroups", "int size, <gid_cell[size] list", effect=Effect.CREDENTIAL, source="getgroups"),
    # An unknown version in the header is replaced by the preferred one, with EINVAL. Version 1 has half the
    # data.
    row(125, "capget", "<>!cap_header hdrp, >cap_data datap"),
    row(126, "capset", "<>!cap_header hdrp, <cap_data datap", effect=Effect.CREDENTIAL, source="capget"),
    row(97, "getrlimit", "rlimit_resource resource, >rlimit rlim"),
    row(160, "setrlimit", "rlimit_resource resource, <rlimit rlim", effect=Effect.LIMIT, source="getrlimit"),
    row(
        302,
        "prlimit64",
        "pid pid, rlimit_resource resource, <rlimit new_limit, >rlimit old_limit",
        effect=Effect.LIMIT,
        source="prlimit",
    ),
    row(98, "getrusage", "rusage_who who, >rusage usage"),
)
