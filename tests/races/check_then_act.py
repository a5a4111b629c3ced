"""Two threads make a directory unless it is there: the second one's check comes before the first one's mkdir."""

import os
import shutil
import tempfile
import threading

folder = tempfile.mkdtemp()
path = os.path.join(folder, "made")
failures = []


def make():
    if not os.path.exists(path):  # decides
        try:
            os.mkdir(path)  # decides
        except FileExistsError as error:
            failures.append(error)


threads = [threading.Thread(target=make) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
shutil.rmtree(folder)
if failures:
    raise failures[0]
