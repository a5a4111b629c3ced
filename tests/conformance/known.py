"""Failures of the outside suites that have a name: the only place where they are written down."""

LOAD = "the test allows 5 s for the start of five workers, or less, which a busy machine and a recording do not keep"
PTRACE = "the program traces others itself: a task has one tracer, so that it gets EPERM, as under any other"
COUNTER = "the program wants a fault of rdtsc (PR_TSC_SIGSEGV), which the recorder keeps for itself"
VDSO = "the program looks into the vDSO, which is hidden from it"
VSYSCALL = "a call by the vsyscall page, which the kernel carries out without a stop for a tracer"
COMPATIBILITY = "a 32-bit system call (int 0x80)"
REFUSED = "a call that is refused by design (modify_ldt)"
OWN_AGENT = "the program maps over everything that /proc/self/maps shows, the agent too"
MANY = "five million rdtsc, each a stop: on a busy machine the replay takes longer than it may (`verify` was clean)"
GUARD = "a stack that another mapping near it keeps from growing: replay has mapped it as far as its limit, and runs on"
AFTER = "a child writes after the first process has ended, which is recorded with --wait only"
ORDER = "the program demands that a new thread does not run before its creator yields, which no scheduler promises"

CAUSES: tuple[tuple[str, str, str, str], ...] = (
    # suite, column, item (or "item test"), cause; the last three with the wildcards of a shell
    ("cpython", "*", "test_concurrent_futures.* *.test_map_timeout", LOAD),
    ("cpython", "*", "test_concurrent_futures.* *WaitTest.test_timeout", LOAD),
    ("rr", "*", "rdtsc_loop", MANY),
    ("rr", "*", "rdtsc_interfering", MANY),
    ("rr", "*", "wait_for_all*", AFTER),
    ("rr", "*", "unexpected_stack_growth*", GUARD),
    ("rr", "*", "ptracer_*", PTRACE),
    ("rr", "*", "prctl_tsc*", COUNTER),
    ("rr", "*", "mmap_replace_most_mappings*", OWN_AGENT),
    ("rr", "*", "ptrace*", PTRACE),
    ("rr", "*", "vfork_done*", PTRACE),
    ("rr", "*", "vfork_setopts*", PTRACE),
    ("rr", "*", "vdso_*", VDSO),
    ("rr", "*", "vsyscall*", VSYSCALL),
    ("rr", "*", "cross_arch*", COMPATIBILITY),
    ("rr", "*", "set_thread_area*", COMPATIBILITY),
    ("rr", "*", "modify_ldt*", REFUSED),
    ("rr", "*", "sched_yield_to_lower_priority*", ORDER),
)
