"""A server in a thread of uvicorn's, asked by another: functions that are awaited, and some run by a thread pool."""

import json
import threading
import time
import urllib.request

import uvicorn
from fastapi import FastAPI

application = FastAPI()


@application.get("/awaited/{number}")
async def awaited(number: int):
    return {"number": number * 2, "time": time.time()}


@application.get("/pooled/{number}")
def pooled(number: int):
    time.sleep(0.002)
    return {"number": number, "time": time.time()}


server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
answers = []
for i in range(30):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{('awaited', 'pooled')[i % 2]}/{i}") as answer:
        answers.append(json.load(answer))
server.should_exit = True
thread.join()
print(sum(answer["number"] for answer in answers))
print("~", answers[-1], port)
