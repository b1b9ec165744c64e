"""Looks a token up as flytekit does before each call, and says how long that takes: a line each."""

import sys
import time

from flytekit.clients.auth.keyring import Credentials, KeyringStore

ENDPOINT = "flyte.example.com"

if sys.argv[1] == "store":
    KeyringStore.store(Credentials(access_token="x" * 64, refresh_token="rt", for_endpoint=ENDPOINT))
elif sys.argv[1] == "once":
    assert KeyringStore.retrieve(ENDPOINT).access_token
else:
    for _ in range(int(sys.argv[2])):
        start = time.perf_counter()
        assert KeyringStore.retrieve(ENDPOINT).access_token
        print("microseconds", int((time.perf_counter() - start) * 1e6))
