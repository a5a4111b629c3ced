"""Mounts and namespaces."""

from __future__ import annotations

from .notation import row
from .spec import Effect, Row

ROWS: tuple[Row, ...] = (
    row(
        165,
        "mount",
        "<path source, <path target, <string filesystemtype, mount_flags mountflags, <string data",
        effect=Effect.NAMESPACE,
        blocks=True,
    ),
    row(166, "umount2", "<path target, umount_flags flags", effect=Effect.NAMESPACE, source="umount"),
    row(155, "pivot_root", "<path new_root, <path put_old", effect=Effect.NAMESPACE),
    row(272, "unshare", "clone_flags flags", effect=Effect.NAMESPACE),
    row(308, "setns", "fd fd, clone_flags nstype", effect=Effect.NAMESPACE),
    row(
        428,
        "open_tree",
        "dirfd dirfd, <path pathname, open_tree_flags flags",
        effect=Effect.OPEN,
        result="fd",
    ),
    row(
        467,
        "open_tree_attr",
        "dirfd dirfd, <path pathname, open_tree_flags flags, <bytes[size] attr, size size",
        effect=Effect.OPEN,
        result="fd",
        source="open_tree",
    ),
    row(
        429,
        "move_mount",
        "dirfd from_dirfd, <path from_pathname, dirfd to_dirfd, <path to_pathname, move_mount_flags flags",
        effect=Effect.NAMESPACE,
    ),
    row(430, "fsopen", "<string fsname, fsopen_flags flags", effect=Effect.OPEN, result="fd"),
    # What `value` points at depends on the command: mostly a string, for FSCONFIG_SET_BINARY `aux` bytes.
    row(
        431,
        "fsconfig",
        "fd fd, fsconfig_command cmd, <string key, <string value, int aux",
        effect=Effect.NAMESPACE,
        blocks=True,
    ),
    row(
        432,
        "fsmount",
        "fd fsfd, fsmount_flags flags, mount_attr_flags attr_flags",
        effect=Effect.OPEN,
        result="fd",
    ),
    row(433, "fspick", "dirfd dirfd, <path pathname, fspick_flags flags", effect=Effect.OPEN, result="fd"),
    row(
        442,
        "mount_setattr",
        "dirfd dirfd, <path pathname, at_flags flags, <bytes[size] attr, size size",
        effect=Effect.NAMESPACE,
    ),
    # The size of the request is its first member; the second version of the structure is a little longer.
    row(457, "statmount", "<mnt_id_req req, >bytes[bufsize] buf, size bufsize, uint flags"),
    row(458, "listmount", "<mnt_id_req req, >u64[result] mnt_ids, size nr_mnt_ids, uint flags"),
    row(470, "listns", "<mnt_id_req req, >u64[result] ns_ids, size nr_ns_ids, uint flags"),
)
