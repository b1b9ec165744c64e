"""What every resource server in here does: judge tokens by asking the issuer, and tell what it saw.

Standard output holds one JSON document a line; tokens are told apart by hashes.
"""

import base64
import hashlib
import json
import sys
import threading
import time
import urllib.parse
import urllib.request

reporting = threading.Lock()


def report(event, **members):
    with reporting:
        print(json.dumps({"event": event, **members}), flush=True)


def fetch(request):
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


class Tokens:
    """Knows which access tokens are good: the issuer says so (RFC 7662), and nobody has told us to refuse them."""

    def __init__(self, endpoint, client, secret):
        quoted = ":".join(urllib.parse.quote_plus(part) for part in (client, secret))
        self._endpoint = endpoint
        self._authorization = "Basic " + base64.b64encode(quoted.encode()).decode()
        self._expiry = {}
        self._asking = threading.Lock()

    def judge(self, authorization):
        """Reports what comes of a call that carries this header, and returns it."""
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer":
            outcome = "missing"
        elif self._is_good(token):
            outcome = "good"
        else:
            outcome = "refused"
        report("rpc", outcome=outcome, token=hashlib.sha256(token.encode()).hexdigest())
        return outcome

    def obey(self, orders):
        """Takes orders, a line each, until there are no more: `refuse` refuses every token seen so far from now on,
        `refuse-all` those to come as well."""
        for order in orders:
            with self._asking:
                match order.strip():
                    case "refuse":
                        self._expiry = {token: 0 for token in self._expiry}
                    case "refuse-all":
                        self._expiry = None
                    case other:
                        sys.exit(f"no such order: {other}")
            report("obeyed", order=order.strip())

    def _is_good(self, token):
        with self._asking:
            if self._expiry is None:
                return False
            if token not in self._expiry:
                self._expiry[token] = self._ask(token)
            return time.time() < self._expiry[token]

    def _ask(self, token):
        form = urllib.parse.urlencode({"token": token}).encode()
        request = urllib.request.Request(self._endpoint, form, {"Authorization": self._authorization})
        answer = fetch(request)
        return answer["exp"] if answer["active"] else 0
