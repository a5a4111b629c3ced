"""Coroutines read a balance, wait, and write it back: another one has been there meanwhile."""

import asyncio
import os
import threading
import time

balance = 100
ready = threading.Event()


async def spend(amount):
    global balance
    seen = balance  # decides
    await asyncio.get_running_loop().run_in_executor(None, os.stat, "/")  # decides
    balance = seen - amount  # decides


def serve():
    global loop
    loop = asyncio.new_event_loop()
    loop.call_soon(ready.set)
    loop.run_forever()
    loop.close()


def client():
    asyncio.run_coroutine_threadsafe(spend(10), loop).result()  # decides


server = threading.Thread(target=serve)
server.start()
ready.wait()
clients = [threading.Thread(target=client) for _ in range(2)]
for thread in clients:
    thread.start()  # decides
    time.sleep(0.1)  # decides
for thread in clients:
    thread.join()
loop.call_soon_threadsafe(loop.stop)
server.join()
assert balance == 80, balance
