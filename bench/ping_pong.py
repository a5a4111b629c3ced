"""Two threads that hand a token to each other through a pair of queues: python bench/ping_pong.py [ROUNDS]"""

import queue
import sys
import threading


def main(rounds: int) -> None:
    there: queue.SimpleQueue[int] = queue.SimpleQueue()
    back: queue.SimpleQueue[int] = queue.SimpleQueue()

    def answer() -> None:
        for _ in range(rounds):
            back.put(there.get())

    thread = threading.Thread(target=answer)
    thread.start()
    for number in range(rounds):
        there.put(number)
        assert back.get() == number
    thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
