"""A server and ten clients over loopback in one thread and one event loop."""

import asyncio
import os
import random
import time


async def serve(reader, writer):
    print("~", "accepted", writer.get_extra_info("peername"), time.time())
    while True:
        line = await reader.readline()
        if not line:
            break
        await asyncio.sleep(random.random() / 200)
        writer.write(line.strip()[::-1] + b"\n")
        await writer.drain()
    writer.close()


async def ask(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    print("~", "connected", number, writer.get_extra_info("sockname"))
    good = 0
    for turn in range(5):
        question = b"%d %d %s" % (number, turn, os.urandom(random.randrange(1, 3000)).hex().encode())
        writer.write(question + b"\n")
        await writer.drain()
        answer = await reader.readline()
        print("~", number, turn, answer[:40], asyncio.get_running_loop().time())
        good += answer == question[::-1] + b"\n"
    writer.close()
    await writer.wait_closed()
    return good


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print("~", "port", port, server.sockets[0])
    answers = await asyncio.gather(*(ask(port, number) for number in range(10)))
    print(answers)
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.02)
    except asyncio.TimeoutError:
        print("time-out")
    server.close()
    await server.wait_closed()


asyncio.run(main())
