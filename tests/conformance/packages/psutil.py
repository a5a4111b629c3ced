"""What /proc says of this process and of the machine."""

import psutil

process = psutil.Process()
print(process.num_threads(), process.memory_info().rss > 0, len(psutil.pids()) > 1)
print("~", process.pid, psutil.cpu_times(), process.memory_info())
