"""A server and sixty requests in one loop."""

import asyncio
import time

import aiohttp
from aiohttp import web


async def answer(request):
    await asyncio.sleep(0.001)
    return web.json_response({"path": request.path, "time": time.time()})


async def main():
    application = web.Application()
    application.router.add_get("/{name}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session:

        async def ask(number):
            async with session.get(f"http://127.0.0.1:{port}/{number}") as got:
                return await got.json()

        answers = await asyncio.gather(*map(ask, range(60)))
    await runner.cleanup()
    print([answer["path"] for answer in answers] == [f"/{i}" for i in range(60)])
    print("~", answers[-1], port)


asyncio.run(main())
