"""A server and fifty clients in one loop, and a child."""

import asyncio
import time

import uvloop


async def answer(reader, writer):
    writer.write((await reader.read(100))[::-1])
    await writer.drain()
    writer.close()


async def ask(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"message %d" % number)
    got = await reader.read(100)
    writer.close()
    return got


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(len(set(await asyncio.gather(*(ask(port, i) for i in range(50))))))
    child = await asyncio.create_subprocess_exec("echo", "a child", stdout=asyncio.subprocess.PIPE)
    print((await child.communicate())[0])
    print("~", time.time(), port)


uvloop.run(main())
