"""A channel between tasks, and a child."""

import time

import trio


async def produce(channel):
    async with channel:
        for i in range(50):
            await channel.send(i)
            await trio.sleep(0.001)


async def main():
    sender, receiver = trio.open_memory_channel(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce, sender)
        print(sum([number async for number in receiver]))
    print((await trio.run_process(["echo", "a child"], capture_stdout=True)).stdout)
    print("~", time.time())


trio.run(main)
