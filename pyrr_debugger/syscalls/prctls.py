"""The options of `prctl` and `arch_prctl`."""

from __future__ import annotations

from .notation import row
from .spec import Effect, Replay, Row


def _option(
    number: int,
    name: str,
    arguments: str = "",
    *,
    replay: Replay = Replay.EMULATE,
    effect: Effect = Effect.NONE,
    result: str = "int",
) -> Row:
    args = "prctl_option option" + (f", {arguments}" if arguments else "")
    return row(number, name, args, replay=replay, effect=effect, result=result, source="prctl")


PRCTL: tuple[Row, ...] = (
    _option(1, "PR_SET_PDEATHSIG", "signal sig"),
    _option(2, "PR_GET_PDEATHSIG", ">i32 sig"),
    _option(3, "PR_GET_DUMPABLE"),
    _option(4, "PR_SET_DUMPABLE", "int dumpable"),
    _option(5, "PR_GET_UNALIGN", ">i32 value"),
    _option(6, "PR_SET_UNALIGN", "hex value"),
    _option(7, "PR_GET_KEEPCAPS"),
    _option(8, "PR_SET_KEEPCAPS", "int state", effect=Effect.CREDENTIAL),
    _option(9, "PR_GET_FPEMU", ">i32 value"),
    _option(10, "PR_SET_FPEMU", "hex value"),
    _option(11, "PR_GET_FPEXC", ">i32 value"),
    _option(12, "PR_SET_FPEXC", "hex value"),
    _option(13, "PR_GET_TIMING"),
    _option(14, "PR_SET_TIMING", "int timing"),
    _option(15, "PR_SET_NAME", "<string name"),
    _option(16, "PR_GET_NAME", ">text[16] name"),
    _option(19, "PR_GET_ENDIAN", ">i32 value"),
    _option(20, "PR_SET_ENDIAN", "hex value"),
    _option(21, "PR_GET_SECCOMP"),
    # A filter of the program that answers a call by itself hides it from the recorder's own: the handler must
    # know.
    _option(22, "PR_SET_SECCOMP", "int mode, <sock_fprog filter", replay=Replay.SPECIAL),
    _option(23, "PR_CAPBSET_READ", "capability cap"),
    _option(24, "PR_CAPBSET_DROP", "capability cap", effect=Effect.CREDENTIAL),
    # The recorder has set this to catch rdtsc; the program must see, and change, what it believes is there.
    _option(25, "PR_GET_TSC", ">i32 mode", replay=Replay.SPECIAL),
    _option(26, "PR_SET_TSC", "int mode", replay=Replay.SPECIAL),
    _option(27, "PR_GET_SECUREBITS", result="hex"),
    _option(28, "PR_SET_SECUREBITS", "hex bits", effect=Effect.CREDENTIAL),
    _option(29, "PR_SET_TIMERSLACK", "ulong slack"),
    _option(30, "PR_GET_TIMERSLACK"),
    _option(31, "PR_TASK_PERF_EVENTS_DISABLE"),
    _option(32, "PR_TASK_PERF_EVENTS_ENABLE"),
    _option(33, "PR_MCE_KILL", "int set, int policy"),
    _option(34, "PR_MCE_KILL_GET"),
    # PR_SET_MM_MAP_SIZE writes its answer where the other operations have an address of the program.
    _option(35, "PR_SET_MM", "int operation, <>!changed[4] addr, hex arg4, hex arg5"),
    _option(36, "PR_SET_CHILD_SUBREAPER", "int set"),
    _option(37, "PR_GET_CHILD_SUBREAPER", ">i32 set"),
    _option(38, "PR_SET_NO_NEW_PRIVS", "int set, int arg3, int arg4, int arg5"),
    _option(39, "PR_GET_NO_NEW_PRIVS"),
    _option(40, "PR_GET_TID_ADDRESS", ">pointer tidptr"),
    _option(41, "PR_SET_THP_DISABLE", "int set, hex flags"),
    _option(42, "PR_GET_THP_DISABLE"),
    _option(43, "PR_MPX_ENABLE_MANAGEMENT"),
    _option(44, "PR_MPX_DISABLE_MANAGEMENT"),
    _option(45, "PR_SET_FP_MODE", "hex mode"),
    _option(46, "PR_GET_FP_MODE"),
    _option(47, "PR_CAP_AMBIENT", "int operation, capability cap", effect=Effect.CREDENTIAL),
    _option(50, "PR_SVE_SET_VL", "hex value"),
    _option(51, "PR_SVE_GET_VL"),
    _option(52, "PR_GET_SPECULATION_CTRL", "int misfeature", result="hex"),
    _option(53, "PR_SET_SPECULATION_CTRL", "int misfeature, hex control"),
    _option(54, "PR_PAC_RESET_KEYS", "hex keys"),
    _option(55, "PR_SET_TAGGED_ADDR_CTRL", "hex control"),
    _option(56, "PR_GET_TAGGED_ADDR_CTRL"),
    _option(57, "PR_SET_IO_FLUSHER", "int state"),
    _option(58, "PR_GET_IO_FLUSHER"),
    # Would turn the calls of the agent into signals, by a byte in memory which the kernel reads at every
    # call.
    _option(
        59,
        "PR_SET_SYSCALL_USER_DISPATCH",
        "int mode, address offset, size length, address selector",
        replay=Replay.REFUSE,
    ),
    _option(60, "PR_PAC_SET_ENABLED_KEYS", "hex keys, hex enabled"),
    _option(61, "PR_PAC_GET_ENABLED_KEYS"),
    _option(62, "PR_SCHED_CORE", "int operation, pid pid, int type, >u64 cookie"),
    _option(63, "PR_SME_SET_VL", "hex value"),
    _option(64, "PR_SME_GET_VL"),
    # Would forbid the code pages in which the recorder puts its stubs.
    _option(65, "PR_SET_MDWE", "hex bits", replay=Replay.REFUSE),
    _option(66, "PR_GET_MDWE", result="hex"),
    _option(67, "PR_SET_MEMORY_MERGE", "int set"),
    _option(68, "PR_GET_MEMORY_MERGE"),
    _option(69, "PR_RISCV_V_SET_CONTROL", "hex control"),
    _option(70, "PR_RISCV_V_GET_CONTROL"),
    _option(71, "PR_RISCV_SET_ICACHE_FLUSH_CTX", "hex context, hex scope"),
    _option(72, "PR_PPC_GET_DEXCR", "hex aspect"),
    _option(73, "PR_PPC_SET_DEXCR", "hex aspect, hex control"),
    _option(74, "PR_GET_SHADOW_STACK_STATUS", ">u64 status"),
    _option(75, "PR_SET_SHADOW_STACK_STATUS", "hex status"),
    _option(76, "PR_LOCK_SHADOW_STACK_STATUS", "hex status"),
    _option(77, "PR_TIMER_CREATE_RESTORE_IDS", "int operation"),
    _option(78, "PR_FUTEX_HASH", "int operation, hex arg3, hex arg4"),
    # Of a part of rseq, which is refused.
    _option(79, "PR_RSEQ_SLICE_EXTENSION", "int operation, hex arg3", replay=Replay.REFUSE),
    _option(0x41555856, "PR_GET_AUXV", ">bytes[result/size] auxv, size size"),
    _option(0x53564D41, "PR_SET_VMA", "int operation, address addr, size size, <string name"),
    _option(0x59616D61, "PR_SET_PTRACER", "pid pid"),
)


def _arch(number: int, name: str, argument: str, replay: Replay = Replay.EMULATE) -> Row:
    return row(number, name, f"arch_prctl_option option, {argument}", replay=replay, source="arch_prctl")


ARCH_PRCTL: tuple[Row, ...] = (
    _arch(0x1001, "ARCH_SET_GS", "address addr", Replay.SPECIAL),
    _arch(0x1002, "ARCH_SET_FS", "address addr", Replay.SPECIAL),
    _arch(0x1003, "ARCH_GET_FS", ">pointer addr"),
    # The agent has the base of %gs for itself; the program is told what it set.
    _arch(0x1004, "ARCH_GET_GS", ">pointer addr", Replay.SPECIAL),
    _arch(0x1011, "ARCH_GET_CPUID", "address addr"),
    _arch(0x1012, "ARCH_SET_CPUID", "hex enable", Replay.SPECIAL),
    _arch(0x1021, "ARCH_GET_XCOMP_SUPP", ">u64 features"),
    _arch(0x1022, "ARCH_GET_XCOMP_PERM", ">u64 features"),
    # A replayed thread that uses AMX needs the permission, too.
    _arch(0x1023, "ARCH_REQ_XCOMP_PERM", "hex feature", Replay.SPECIAL),
    _arch(0x1024, "ARCH_GET_XCOMP_GUEST_PERM", ">u64 features"),
    _arch(0x1025, "ARCH_REQ_XCOMP_GUEST_PERM", "hex feature", Replay.SPECIAL),
    _arch(0x2001, "ARCH_MAP_VDSO_X32", "address addr", Replay.SPECIAL),
    _arch(0x2002, "ARCH_MAP_VDSO_32", "address addr", Replay.SPECIAL),
    _arch(0x2003, "ARCH_MAP_VDSO_64", "address addr", Replay.SPECIAL),
    # Asked by older C libraries for a control-flow protection that was never merged so; all answer EINVAL.
    _arch(0x3001, "ARCH_CET_STATUS", ">u64[3] status"),
    _arch(0x3002, "ARCH_CET_DISABLE", "hex features"),
    _arch(0x3003, "ARCH_CET_LOCK", "hex features"),
    _arch(0x4001, "ARCH_GET_UNTAG_MASK", ">u64 mask"),
    # Tagged pointers would reach the recorder untranslated.
    _arch(0x4002, "ARCH_ENABLE_TAGGED_ADDR", "ulong bits", Replay.REFUSE),
    _arch(0x4003, "ARCH_GET_MAX_TAG_BITS", ">u64 bits"),
    _arch(0x4004, "ARCH_FORCE_TAGGED_SVA", "address addr"),
    # A shadow stack would refuse the returns out of patched syscall sites.
    _arch(0x5001, "ARCH_SHSTK_ENABLE", "hex features", Replay.REFUSE),
    _arch(0x5002, "ARCH_SHSTK_DISABLE", "hex features"),
    _arch(0x5003, "ARCH_SHSTK_LOCK", "hex features"),
    _arch(0x5004, "ARCH_SHSTK_UNLOCK", "hex features"),
    _arch(0x5005, "ARCH_SHSTK_STATUS", ">u64 features"),
)
