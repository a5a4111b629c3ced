"""The program asks for, and sets, the mode of its own time stamp counter: the recorder's use of it stays unseen."""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
PR_GET_TSC, PR_SET_TSC, PR_TSC_ENABLE = 25, 26, 1
state = ctypes.c_int(-1)
print(libc.prctl(PR_GET_TSC, ctypes.byref(state), 0, 0, 0), state.value)
print(libc.prctl(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0))
