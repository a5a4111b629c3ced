"""Each thread has an affinity of its own, may narrow it and widen it again, and inherits its parent's."""

import os
import threading
import warnings

# From 3.12 on a fork warns of threads, of one that is just ending too or not.
warnings.simplefilter("ignore", DeprecationWarning)

allowed = os.sched_getaffinity(0)
one = {min(allowed)}


def attempt(task, cores):
    try:
        os.sched_setaffinity(task, cores)
    except OSError as error:
        return error.strerror
    return os.sched_getaffinity(task) == set(cores)


print(attempt(0, one), attempt(0, allowed), attempt(0, []), attempt(-1, one), attempt(os.getpid(), allowed))


def narrow():
    print(attempt(0, one), attempt(os.getpid(), allowed), os.sched_getaffinity(0) == one)


thread = threading.Thread(target=narrow)
thread.start()
thread.join()
print(os.sched_getaffinity(0) == allowed)
os.sched_setaffinity(0, one)
child = os.fork()
if child == 0:
    print(os.sched_getaffinity(0) == one, attempt(os.getppid(), allowed), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(os.sched_getaffinity(0) == allowed)
