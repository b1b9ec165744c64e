"""A program that uses Flyte through flytekit: threads that share one client and make calls until they are told to stop.

    python flytekit_client.py CONFIG_YAML THREADS

It stops with its standard input. Its last line on standard output is {"event": "done", "calls": .., "failures": [..]}.
"""

import json
import sys
import threading

from flytekit.clients.friendly import SynchronousFlyteClient
from flytekit.configuration import Config

# Seconds between two calls of a thread: a busy tool, but one that leaves the machine to the others.
PAUSE = 0.1


def call_until(stop, client, calls, failures):
    while not stop.wait(PAUSE):
        try:
            client.list_projects_paginated(limit=1)
            calls.append(1)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")


def main():
    config, threads = sys.argv[1], int(sys.argv[2])
    client = SynchronousFlyteClient(Config.auto(config).platform)
    stop, calls, failures = threading.Event(), [], []
    workers = [
        threading.Thread(target=call_until, args=(stop, client, calls, failures)) for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    sys.stdin.read()
    stop.set()
    for worker in workers:
        worker.join()
    print(json.dumps({"event": "done", "calls": len(calls), "failures": failures}), flush=True)


main()
