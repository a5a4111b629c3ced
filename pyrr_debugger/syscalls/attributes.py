"""Extended attributes. With size 0 the calls answer the size they would need and write nothing."""

from __future__ import annotations

from .notation import row
from .spec import Kind, Row, Transfer

ROWS: tuple[Row, ...] = (
    row(188, "setxattr", "<path path, <string name, <bytes[size] value, size size, xattr_flags flags"),
    row(
        189,
        "lsetxattr",
        "<path path, <string name, <bytes[size] value, size size, xattr_flags flags",
        source="setxattr",
    ),
    row(
        190,
        "fsetxattr",
        "fd fd, <string name, <bytes[size] value, size size, xattr_flags flags",
        source="setxattr",
    ),
    row(
        463,
        "setxattrat",
        "dirfd dirfd, <path path, at_flags at_flags, <string name, <bytes[usize] args, size usize",
        source="setxattr",
    ),
    row(191, "getxattr", "<path path, <string name, >bytes[result/size] value, size size"),
    row(192, "lgetxattr", "<path path, <string name, >bytes[result/size] value, size size", source="getxattr"),
    row(193, "fgetxattr", "fd fd, <string name, >bytes[result/size] value, size size", source="getxattr"),
    # The pointer to the value, of at most XATTR_SIZE_MAX bytes, is the first member of struct xattr_args.
    row(
        464,
        "getxattrat",
        "dirfd dirfd, <path path, at_flags at_flags, <string name, <bytes[usize] args, size usize",
        outs=(Transfer(4, Kind.INDIRECT, 65536, 0),),
        source="getxattr",
    ),
    row(194, "listxattr", "<path path, >names[result/size] list, size size"),
    row(195, "llistxattr", "<path path, >names[result/size] list, size size", source="listxattr"),
    row(196, "flistxattr", "fd fd, >names[result/size] list, size size", source="listxattr"),
    row(
        465,
        "listxattrat",
        "dirfd dirfd, <path path, at_flags at_flags, >names[result/size] list, size size",
        source="listxattr",
    ),
    row(197, "removexattr", "<path path, <string name"),
    row(198, "lremovexattr", "<path path, <string name", source="removexattr"),
    row(199, "fremovexattr", "fd fd, <string name", source="removexattr"),
    row(466, "removexattrat", "dirfd dirfd, <path path, at_flags at_flags, <string name", source="removexattr"),
)
