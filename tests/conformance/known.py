"""Failures of the outside suites that have a name: the only place where they are written down."""

SPIN = "a thread spins on memory which another one writes, without a system call (no bytecode clock yet)"
SPINNING_CHILD = "a child that computes without a system call lets its parent time out too late (no bytecode clock yet)"

PTRACE = "the program traces others itself (ptrace), which a traced program cannot"
VDSO = "the program looks into the vDSO, which is hidden from it"
COMPATIBILITY = "a 32-bit system call (int 0x80)"
REFUSED = "a call that is refused by design (modify_ldt)"
STACK_LIMIT = "RLIMIT_STACK changed by the program, which then overflows or grows its stack"
FILE_END = "SIGBUS behind the end of a mapped file"
TIMER = "a timer that fires more often than a recorded handler can run"
INDIRECT = "memory that a privileged ioctl or socket option writes behind a pointer in its structure"
NAMESPACE_INIT = "a fault in the first process of a pid namespace, which its tracer makes harmless"
UNSHARED_FILES = "output of a thread that shares no descriptors with its process (unshare(CLONE_FILES))"

CAUSES: tuple[tuple[str, str, str, str], ...] = (
    # suite, column, item (or "item test"), cause; the last three with the wildcards of a shell
    ("cpython", "*", "test_threading.InterruptMainTests*", SPIN),
    # test_call_timeout; in time only if its child of 0.1 s is still starting up then
    ("cpython", "3.13", "test_subprocess.ProcessTestCaseNoPoll*", SPINNING_CHILD),
    ("rr", "*", "grandchild_threads_*_running", SPIN),
    ("rr", "*", "async_kill_with_threads_*_running", SPIN),
    ("rr", "*", "no_mask_timeslice", SPIN),
    ("rr", "*", "thread_yield", SPIN),
    ("rr", "*", "ptrace*", PTRACE),
    ("rr", "*", "vfork_done", PTRACE),
    ("rr", "*", "vfork_setopts", PTRACE),
    ("rr", "*", "vdso_*", VDSO),
    ("rr", "*", "cross_arch", COMPATIBILITY),
    ("rr", "*", "set_thread_area", COMPATIBILITY),
    ("rr", "*", "modify_ldt", REFUSED),
    ("rr", "*", "stack_overflow*", STACK_LIMIT),
    ("rr", "*", "mmap_short_file", FILE_END),
    ("rr", "*", "timer", TIMER),
    ("rr", "*", "ioctl_br", INDIRECT),
    ("rr", "*", "netfilter*", INDIRECT),
    ("rr", "*", "pid_ns_segv", NAMESPACE_INIT),
    ("rr", "*", "unshare", UNSHARED_FILES),
)
