"""System V message queues, semaphores and shared memory; POSIX message queues."""

from __future__ import annotations

from .notation import row
from .spec import Effect, Replay, Row


def _commands(source: str, commands: dict[str, tuple[int, str]]) -> tuple[Row, ...]:
    """Rows of an xxxctl call: command name to number and argument list."""
    return tuple(row(number, name, args, source=source) for name, (number, args) in commands.items())


_SHM = "int shmid, shmctl_command cmd"
_SHMCTL = _commands(
    "shmctl",
    {
        "IPC_RMID": (0, f"{_SHM}, address buf"),
        "IPC_SET": (1, f"{_SHM}, <shmid_ds buf"),
        "IPC_STAT": (2, f"{_SHM}, >shmid_ds buf"),
        "IPC_INFO": (3, f"{_SHM}, >shminfo buf"),
        "SHM_LOCK": (11, f"{_SHM}, address buf"),
        "SHM_UNLOCK": (12, f"{_SHM}, address buf"),
        "SHM_STAT": (13, f"{_SHM}, >shmid_ds buf"),
        "SHM_INFO": (14, f"{_SHM}, >shm_info buf"),
        "SHM_STAT_ANY": (15, f"{_SHM}, >shmid_ds buf"),
    },
)

_SEM = "int semid, int semnum, semctl_command cmd"
_SEMCTL = _commands(
    "semctl",
    {
        "IPC_RMID": (0, f"{_SEM}, address arg"),
        "IPC_SET": (1, f"{_SEM}, <semid_ds arg"),
        "IPC_STAT": (2, f"{_SEM}, >semid_ds arg"),
        "IPC_INFO": (3, f"{_SEM}, >seminfo arg"),
        "GETPID": (11, f"{_SEM}, address arg"),
        "GETVAL": (12, f"{_SEM}, address arg"),
        # One 16-bit value for each semaphore of the set, whose number (up to SEMMSL, 32000) is not in the
        # call.
        "GETALL": (13, f"{_SEM}, >changed[64000] arg"),
        "GETNCNT": (14, f"{_SEM}, address arg"),
        "GETZCNT": (15, f"{_SEM}, address arg"),
        "SETVAL": (16, f"{_SEM}, int arg"),
        "SETALL": (17, f"{_SEM}, address arg"),
        "SEM_STAT": (18, f"{_SEM}, >semid_ds arg"),
        "SEM_INFO": (19, f"{_SEM}, >seminfo arg"),
        "SEM_STAT_ANY": (20, f"{_SEM}, >semid_ds arg"),
    },
)

_MSG = "int msqid, msgctl_command cmd"
_MSGCTL = _commands(
    "msgctl",
    {
        "IPC_RMID": (0, f"{_MSG}, address buf"),
        "IPC_SET": (1, f"{_MSG}, <msqid_ds buf"),
        "IPC_STAT": (2, f"{_MSG}, >msqid_ds buf"),
        "IPC_INFO": (3, f"{_MSG}, >msginfo buf"),
        "MSG_STAT": (11, f"{_MSG}, >msqid_ds buf"),
        "MSG_INFO": (12, f"{_MSG}, >msginfo buf"),
        "MSG_STAT_ANY": (13, f"{_MSG}, >msqid_ds buf"),
    },
)

ROWS: tuple[Row, ...] = (
    row(29, "shmget", "ipc_key key, size size, ipc_flags shmflg"),
    row(
        30,
        "shmat",
        "int shmid, address shmaddr, shmat_flags shmflg",
        replay=Replay.SPECIAL,
        effect=Effect.MAP,
        result="address",
        source="shmop",
    ),
    row(67, "shmdt", "address shmaddr", replay=Replay.SPECIAL, effect=Effect.UNMAP, source="shmop"),
    row(31, "shmctl", f"{_SHM}, <>!changed[112] buf", selector=1, commands=_SHMCTL),
    row(64, "semget", "ipc_key key, int nsems, ipc_flags semflg"),
    row(65, "semop", "int semid, <sembuf[nsops] sops, uint nsops", blocks=True),
    row(220, "semtimedop", "int semid, <sembuf[nsops] sops, uint nsops, <timespec timeout", blocks=True),
    row(66, "semctl", f"{_SEM}, <>!changed[112] arg", selector=2, commands=_SEMCTL),
    row(68, "msgget", "ipc_key key, ipc_flags msgflg"),
    row(
        69,
        "msgsnd",
        "int msqid, <msgbuf[msgsz] msgp, size msgsz, ipc_flags msgflg",
        blocks=True,
        source="msgop",
    ),
    row(
        70,
        "msgrcv",
        "int msqid, >msgbuf[msgsz] msgp, size msgsz, long msgtyp, msgrcv_flags msgflg",
        blocks=True,
        result="long",
        source="msgop",
    ),
    row(71, "msgctl", f"{_MSG}, <>!changed[120] buf", selector=1, commands=_MSGCTL),
    row(
        240,
        "mq_open",
        "<string name, open_flags oflag, mode mode, <mq_attr attr",
        effect=Effect.OPEN,
        result="fd",
    ),
    row(241, "mq_unlink", "<string name"),
    row(
        242,
        "mq_timedsend",
        "fd mqdes, <bytes[msg_len] msg_ptr, size msg_len, uint msg_prio, <timespec abs_timeout",
        effect=Effect.WRITE,
        blocks=True,
        source="mq_send",
    ),
    row(
        243,
        "mq_timedreceive",
        "fd mqdes, >bytes[result/msg_len] msg_ptr, size msg_len, >u32 msg_prio, <timespec abs_timeout",
        blocks=True,
        result="long",
        source="mq_receive",
    ),
    row(244, "mq_notify", "fd mqdes, <sigevent sevp", effect=Effect.SIGNAL),
    row(245, "mq_getsetattr", "fd mqdes, <mq_attr newattr, >mq_attr oldattr"),
)
