"""The operations of `keyctl`. Those that read answer the whole size, even where the buffer is smaller."""

from __future__ import annotations

from .notation import row
from .spec import Row


def _operation(number: int, name: str, arguments: str = "", *, blocks: bool = False, result: str = "int") -> Row:
    args = "keyctl_operation operation" + (f", {arguments}" if arguments else "")
    return row(number, name, args, blocks=blocks, result=result, source="keyctl")


COMMANDS: tuple[Row, ...] = (
    _operation(0, "KEYCTL_GET_KEYRING_ID", "key id, int create", result="key"),
    _operation(1, "KEYCTL_JOIN_SESSION_KEYRING", "<string name", result="key"),
    _operation(2, "KEYCTL_UPDATE", "key id, <bytes[plen] payload, size plen"),
    _operation(3, "KEYCTL_REVOKE", "key id"),
    _operation(4, "KEYCTL_CHOWN", "key id, uid uid, gid gid"),
    _operation(5, "KEYCTL_SETPERM", "key id, hex perm"),
    _operation(6, "KEYCTL_DESCRIBE", "key id, >text[result/size] buf, size size"),
    _operation(7, "KEYCTL_CLEAR", "key keyring"),
    _operation(8, "KEYCTL_LINK", "key id, key keyring"),
    _operation(9, "KEYCTL_UNLINK", "key id, key keyring"),
    _operation(10, "KEYCTL_SEARCH", "key keyring, <string type, <string description, key dest", result="key"),
    _operation(11, "KEYCTL_READ", "key id, >bytes[result/size] buf, size size"),
    _operation(12, "KEYCTL_INSTANTIATE", "key id, <bytes[plen] payload, size plen, key keyring"),
    _operation(13, "KEYCTL_NEGATE", "key id, uint timeout, key keyring"),
    _operation(14, "KEYCTL_SET_REQKEY_KEYRING", "int dest"),
    _operation(15, "KEYCTL_SET_TIMEOUT", "key id, uint timeout"),
    _operation(16, "KEYCTL_ASSUME_AUTHORITY", "key id"),
    _operation(17, "KEYCTL_GET_SECURITY", "key id, >text[result/size] buf, size size"),
    _operation(18, "KEYCTL_SESSION_TO_PARENT"),
    _operation(19, "KEYCTL_REJECT", "key id, uint timeout, uint error, key keyring"),
    _operation(20, "KEYCTL_INSTANTIATE_IOV", "key id, <iovec[count] iov, uint count, key keyring"),
    _operation(21, "KEYCTL_INVALIDATE", "key id"),
    _operation(22, "KEYCTL_GET_PERSISTENT", "uid uid, key keyring", result="key"),
    _operation(23, "KEYCTL_DH_COMPUTE", "<bytes[12] params, >bytes[result/size] buf, size size, address kdf"),
    _operation(24, "KEYCTL_PKEY_QUERY", "key id, hex reserved, <string info, >bytes[56] result"),
    # Of the operations on key pairs, the lengths lie in `params`; the result is how much was written.
    _operation(25, "KEYCTL_PKEY_ENCRYPT", "<bytes[40] params, <string info, address in, >bytes[result] out"),
    _operation(26, "KEYCTL_PKEY_DECRYPT", "<bytes[40] params, <string info, address in, >bytes[result] out"),
    _operation(27, "KEYCTL_PKEY_SIGN", "<bytes[40] params, <string info, address in, >bytes[result] out"),
    _operation(28, "KEYCTL_PKEY_VERIFY", "<bytes[40] params, <string info, address in, address in2"),
    _operation(29, "KEYCTL_RESTRICT_KEYRING", "key keyring, <string type, <string restriction"),
    _operation(30, "KEYCTL_MOVE", "key id, key from, key to, hex flags"),
    _operation(31, "KEYCTL_CAPABILITIES", ">bytes[result/size] buf, size size"),
    _operation(32, "KEYCTL_WATCH_KEY", "key id, fd watch_queue, int watch_id"),
)
