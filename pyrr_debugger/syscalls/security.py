"""Filters, rule sets and keys."""

from __future__ import annotations

from . import keyctls
from .notation import row
from .spec import Effect, Replay, Row

_SECCOMP = "seccomp_operation operation, seccomp_flags flags"
_LANDLOCK = "<bytes[size] attr, size size, landlock_flags flags"

ROWS: tuple[Row, ...] = (
    # A filter of the program that answers a call by itself hides it from the recorder's own: the handler must
    # know.
    row(
        317,
        "seccomp",
        f"{_SECCOMP}, <sock_fprog args",
        replay=Replay.SPECIAL,
        selector=0,
        commands=(
            row(
                0,
                "SECCOMP_SET_MODE_STRICT",
                f"{_SECCOMP}, address args",
                replay=Replay.SPECIAL,
                source="seccomp",
            ),
            row(
                1,
                "SECCOMP_SET_MODE_FILTER",
                f"{_SECCOMP}, <sock_fprog args",
                replay=Replay.SPECIAL,
                source="seccomp",
            ),
            row(2, "SECCOMP_GET_ACTION_AVAIL", f"{_SECCOMP}, <u32 args", source="seccomp"),
            row(3, "SECCOMP_GET_NOTIF_SIZES", f"{_SECCOMP}, >u16[3] args", source="seccomp"),
        ),
    ),
    # With flags it answers a number about the kernel, without any a descriptor.
    row(
        444,
        "landlock_create_ruleset",
        _LANDLOCK,
        selector=2,
        commands=(
            row(0, "LANDLOCK_CREATE_RULESET", _LANDLOCK, effect=Effect.OPEN, result="fd"),
            row(1, "LANDLOCK_CREATE_RULESET_VERSION", _LANDLOCK),
            row(2, "LANDLOCK_CREATE_RULESET_ERRATA", _LANDLOCK),
        ),
    ),
    # struct landlock_path_beneath_attr is packed, 12 bytes; the rule for ports takes 16.
    row(445, "landlock_add_rule", "fd ruleset_fd, landlock_rule rule_type, <bytes[12] rule_attr, uint flags"),
    row(446, "landlock_restrict_self", "fd ruleset_fd, uint flags"),
    row(459, "lsm_get_self_attr", "uint attr, >bytes[*size] ctx, <>!u32 size, uint flags"),
    row(460, "lsm_set_self_attr", "uint attr, <bytes[size] ctx, uint size, uint flags"),
    row(461, "lsm_list_modules", ">bytes[*size] ids, <>!u32 size, uint flags"),
    row(
        248,
        "add_key",
        "<string type, <string description, <bytes[plen] payload, size plen, keyring keyring",
        result="key",
    ),
    row(
        249,
        "request_key",
        "<string type, <string description, <string callout_info, keyring dest_keyring",
        blocks=True,
        result="key",
    ),
    row(
        250,
        "keyctl",
        "keyctl_operation operation, hex arg2, <>!changed[4096] arg3, <>!changed[4096] arg4, hex arg5",
        selector=0,
        commands=keyctls.COMMANDS,
        blocks=True,
    ),
)
