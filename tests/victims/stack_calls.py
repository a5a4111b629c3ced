"""Stops in one kind of call after another; before each stop it says what Python itself thinks the stacks are.

A stop is a line of JSON on standard output, then a read of one byte from standard input. Runs on 3.8 and later.
"""

import asyncio
import atexit
import contextlib
import functools
import json
import os
import re
import signal
import sys
import threading
import time
import types


def describe(frame):
    frames = []
    while frame is not None:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        frames.append([name, code.co_filename, frame.f_lineno or 0, code.co_firstlineno])
        frame = frame.f_back
    return frames


def report(case, frame):
    """Write what a stop with this innermost frame looks like. Returns 1, how much to read."""
    me = threading.get_ident()
    threads = {ident: describe(frame) for ident, frame in sys._current_frames().items() if ident != me}
    while True:  # until all others have come to rest
        time.sleep(0.01)
        again = {ident: describe(frame) for ident, frame in sys._current_frames().items() if ident != me}
        if again == threads:
            break
        threads = again
    threads[me] = describe(frame)
    native = {thread.ident: thread.native_id for thread in threading.enumerate()}
    native[me] = threading.get_native_id()
    stop = {"case": case, "pid": os.getpid(), "threads": threads, "native": native}
    os.write(1, json.dumps(stop).encode() + b"\n")
    return 1


def stop(case):
    os.read(0, report(case, sys._getframe()))


# Plain calls


def outer(case):
    def inner():
        def innermost():
            stop(case)

        innermost()

    inner()


def recursion(depth):
    if depth:
        recursion(depth - 1)
    else:
        stop("recursion")


def even(depth):
    return odd(depth - 1) if depth else stop("mutual recursion")


def odd(depth):
    return even(depth - 1) if depth else stop("mutual recursion")


def many_arguments(first, *rest, keyword=None, **keywords):
    stop("arguments")


def multi_line():
    return many_arguments(
        1,
        len("two"),
        *range(3),
        keyword=[stop("multi-line argument") for _ in range(2)],
        **{"other": stop("multi-line keyword")},
    )


def chained_methods():
    class Chain:
        def step(self, case=None):
            if case:
                stop(case)
            return self

    (Chain().step().step("chained methods, third line").step().step("chained methods, fifth line"))


def closures():
    free = "closure"

    def with_free_variable(argument):
        cell = argument

        def with_both():
            nonlocal cell
            cell += 1
            stop(free)
            return cell, free, argument

        return with_both()

    with_free_variable(1)


def lambdas():
    (lambda case: stop(case))("lambda")


# Generators and comprehensions


def generator(case):
    yield 1
    stop(case)
    yield 2
    try:
        yield 3
    finally:
        stop(case + ", closed")


def delegating(case):
    yield from generator(case)


def generators():
    for _ in generator("generator"):
        pass
    list(delegating("yield from"))
    sum(number for number in delegating("generator expression") if number)
    half_way = generator("unused")
    next(half_way)
    thrown = throwing()
    next(thrown)
    thrown.throw(ValueError)


def throwing():
    try:
        yield 1
    except ValueError:
        stop("generator.throw")
        yield 2


def comprehensions():
    [stop("list comprehension") for _ in "1"]
    {stop("set comprehension") for _ in "1"}
    {key: stop("dict comprehension") for key in "1"}
    [[stop("nested comprehension") for _ in "1"] for _ in "1"]
    [captured() for captured in [lambda: stop("lambda in comprehension")]]


# Classes


class Base:
    def __init__(self):
        stop("__init__ of a base")

    @property
    def value(self):
        stop("property")

    @classmethod
    def of_class(cls):
        stop("classmethod")

    @staticmethod
    def of_none():
        stop("staticmethod")

    def __repr__(self):
        stop("__repr__")
        return ""

    def __getattr__(self, name):
        stop("__getattr__")

    def __lt__(self, other):
        stop("__lt__")
        return True

    def __getitem__(self, index):
        stop("__getitem__")

    def __call__(self):
        stop("__call__")

    def __del__(self):
        stop("__del__")


class Derived(Base):
    def __init__(self):
        super().__init__()


class Descriptor:
    def __set_name__(self, owner, name):
        stop("__set_name__")


class Meta(type):
    def __new__(cls, name, bases, namespace):
        stop("metaclass")
        return super().__new__(cls, name, bases, namespace)


def classes():
    thing = Derived()
    thing.value
    thing.of_class()
    thing.of_none()
    f"{thing!r}"
    thing.missing
    thing < 1
    thing[0]
    thing()
    del thing

    class WithBody(metaclass=Meta):
        stop("class body")
        member = Descriptor()


# Decorators, context managers, exceptions


def decorate(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    stop("decorator")
    return wrapper


def decorators():
    @decorate
    @functools.lru_cache(maxsize=None)
    @decorate
    def decorated(case):
        stop(case)

    decorated("decorated")
    functools.partial(decorated, "partial")()


@contextlib.contextmanager
def manager():
    stop("context manager, entered")
    try:
        yield
    finally:
        stop("context manager, left")


def exceptions():
    with manager():
        stop("with")
    try:
        try:
            raise ValueError(stop("raise"))
        except ValueError as error:
            stop("except")
            raise KeyError from error
        finally:
            stop("finally, unwinding")
    except KeyError:
        stop("outer except")
    else:
        stop("not here")
    for _ in range(2):
        try:
            continue
        finally:
            stop("finally, continue")


# Python called from C


class Finalized:
    def __del__(self):
        stop("dropped object")


def callbacks():
    list(map(lambda _: stop("map"), "1"))
    sorted([3], key=lambda _: stop("key"))
    functools.reduce(lambda _, __: stop("reduce"), [1, 2])
    re.sub("a", lambda _: stop("re.sub") or "", "a")
    Finalized()
    eval("stop('eval')")
    signal.signal(signal.SIGUSR1, lambda number, frame: stop("signal handler"))
    os.kill(os.getpid(), signal.SIGUSR1)
    json.dumps(object(), default=lambda _: stop("json default"))


# Asynchronous code


class AsyncManager:
    async def __aenter__(self):
        stop("async with")

    async def __aexit__(self, *details):
        await asyncio.sleep(0)
        stop("async with, left")


async def async_generator():
    stop("async generator")
    yield 1
    await asyncio.sleep(0)
    stop("async generator, resumed")
    yield 2


@types.coroutine
def old_coroutine():
    stop("types.coroutine")
    yield


async def deepest(case):
    await asyncio.sleep(0)
    stop(case)


async def middle(case):
    return await deepest(case)


async def async_main():
    await middle("await")
    await asyncio.gather(middle("first task"), middle("second task"))
    async with AsyncManager():
        pass
    async for _ in async_generator():
        pass
    [_ async for _ in async_generator()]
    await old_coroutine()
    asyncio.get_running_loop().call_soon(stop, "call_soon")
    await asyncio.sleep(0)


# Names, files and lines


def namen_mit_umlaut():
    def größe():
        stop("latin-1 name")

    def функция():
        stop("UCS-2 name")

    def 𐍈():
        stop("UCS-4 name")

    größe()
    функция()
    𐍈()


def executed():
    for filename in "<string>", "dir/é.py", "путь.py", "🐍.py", "\udcff\udcfe.py", "x" * 3000:
        exec(compile("def here():\n\n    stop('exec')\nhere()", filename, "exec"))


def far_lines():
    # Distances that one entry of a line table cannot hold, forwards and backwards, in lines and in code.
    gap = "\n" * 700
    wide = "x = (" + "+".join(["a * a"] * 400) + ")"
    source = f"""
def far(a):
    stop('near')
    {wide}{gap}
    stop('far forwards')
    {wide}; {wide}; stop('wide line')
    (stop, {gap}a)[0]('far backwards'){gap}
    for x in range(1):
        {wide}
        stop('in a loop')
        if x: {gap}
            stop('not here')
        else:
            {wide}
            stop('else')
far(2)
"""
    exec(compile(source, "far.py", "exec"))


def no_lines():
    def function():
        stop("no line table")

    if sys.version_info >= (3, 10):
        function.__code__ = function.__code__.replace(co_linetable=b"")
    else:
        function.__code__ = function.__code__.replace(co_lnotab=b"")
    function()


def newer_syntax():
    if sys.version_info >= (3, 10):
        exec("match [1, 2]:\n    case [1, x] if x > 1:\n        stop('match')")
    if sys.version_info >= (3, 11):
        exec("try:\n    raise ExceptionGroup('', [ValueError()])\nexcept* ValueError:\n    stop('except*')")
    if sys.version_info >= (3, 12):
        exec("def f[T: stop('type bound')](x: T): pass\nf.__type_params__[0].__bound__")


# Tracing, threads, processes


def traced(hook, case):
    def trace(frame, event, argument):
        if frame.f_code is stopping.__code__ and event in ("call", "line", "return"):
            stop(f"{case}, inside, {event}")
        return trace

    def stopping():
        two = 2
        return two

    hook(trace)
    stopping()
    stop(case)
    hook(None)


def wait_in_thread(lock):
    def deeper(lock):
        lock.acquire()
        lock.release()

    deeper(lock)


def threads():
    lock = threading.Lock()
    lock.acquire()
    started = [threading.Thread(target=wait_in_thread, args=(lock,)) for _ in range(3)]
    for thread in started:
        thread.start()
    stop("threads")
    other = threading.Thread(target=stop, args=("stop in a thread",))
    other.start()
    other.join()
    lock.release()
    for thread in started:
        thread.join()


def forked():
    child = os.fork()
    if not child:
        stop("forked child")
        os._exit(0)
    os.waitpid(child, 0)


def importing(directory):
    with open(os.path.join(directory, "stack_imported.py"), "w") as file:
        file.write("from __main__ import stop\n\n\nstop('import')\n")
    sys.path.insert(0, directory)
    import stack_imported


def main(directory):
    stop("call")
    outer("nested functions")
    recursion(30)
    recursion(900)
    even(6)
    multi_line()
    many_arguments(*range(10), **{"other": 1})
    chained_methods()
    closures()
    lambdas()
    generators()
    comprehensions()
    classes()
    decorators()
    exceptions()
    callbacks()
    asyncio.run(async_main())
    namen_mit_umlaut()
    executed()
    far_lines()
    no_lines()
    newer_syntax()
    traced(sys.settrace, "sys.settrace")
    traced(sys.setprofile, "sys.setprofile")
    threads()
    forked()
    importing(directory)
    atexit.register(stop, "atexit")


stop("module")
main(sys.argv[1])
stop("module, later")
