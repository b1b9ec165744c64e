"""A program that uses Flyte 2 through its SDK: coroutines that share one client and make calls until they are told to
stop.

    python flyte2_client.py CONFIG_YAML COROUTINES

It stops with its standard input. Its last line on standard output is {"event": "done", "calls": .., "failures": [..]}.
"""

import asyncio
import json
import sys
import threading

import flyte
from flyte.remote import Project

# Seconds between two calls of a coroutine: a busy tool, but one that leaves the machine to the others.
PAUSE = 0.1


async def call_until(stop, calls, failures):
    while not stop.is_set():
        await asyncio.sleep(PAUSE)
        try:
            async for _ in Project.listall.aio():
                pass
            calls.append(1)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")


async def work(coroutines, stop):
    calls, failures = [], []
    await asyncio.gather(*(call_until(stop, calls, failures) for _ in range(coroutines)))
    return {"event": "done", "calls": len(calls), "failures": failures}


def main():
    config, coroutines = sys.argv[1], int(sys.argv[2])
    flyte.init_from_config(config)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    print(json.dumps(asyncio.run(work(coroutines, stop))), flush=True)


main()
