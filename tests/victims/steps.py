"""A loop of calls, each line of which makes a system call; then an exception that nobody catches."""

import os
import sys


def report(text):
    os.write(1, text.encode())


def work(number):
    before = [number]
    report(f"begin {number}\n")
    before.append(number * 2)
    report(f"end {number}\n")
    return before


def main():
    done = {}
    for number in range(5):
        done[number] = work(number)
        report("---\n")
    limit = len(done) - 5
    report("failing\n")
    return done[0] and 1 // limit


if __name__ == "__main__":
    sys.exit(main())
