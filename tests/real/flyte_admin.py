"""A small Flyte Admin on a free port of 127.0.0.1, made of flyteidl's own stubs.

It tells clients how to log in (AuthMetadataService) and lists no projects to whoever has a good token (AdminService).
It is a resource server like any other: it asks the issuer about a token that it has not seen (RFC 7662), and goes by
the expiry after that.

Standard output holds one JSON document a line: {"event": "ready", "endpoint": ..} first, then what happened; tokens are
told apart by hashes. The server ends with its standard input, so that it cannot outlive the tests that started it.
"""

import argparse
import base64
import hashlib
import json
import sys
import threading
import time
import urllib.parse
import urllib.request
from concurrent import futures

import grpc
from flyteidl.admin import project_pb2
from flyteidl.service import admin_pb2_grpc, auth_pb2, auth_pb2_grpc

# Every name of an answer of GetOAuth2Metadata that the issuer's own metadata (RFC 8414) has as well.
METADATA = [field.name for field in auth_pb2.OAuth2MetadataResponse.DESCRIPTOR.fields]

reporting = threading.Lock()


def report(event, **members):
    with reporting:
        print(json.dumps({"event": event, **members}), flush=True)


def fetch(request):
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


class Tokens:
    """Knows which access tokens are good."""

    def __init__(self, endpoint, client, secret):
        quoted = ":".join(urllib.parse.quote_plus(part) for part in (client, secret))
        self._endpoint = endpoint
        self._authorization = "Basic " + base64.b64encode(quoted.encode()).decode()
        self._expiry = {}
        self._asking = threading.Lock()

    def is_good(self, token):
        with self._asking:
            if token not in self._expiry:
                self._expiry[token] = self._ask(token)
            return time.time() < self._expiry[token]

    def _ask(self, token):
        form = urllib.parse.urlencode({"token": token}).encode()
        request = urllib.request.Request(self._endpoint, form, {"Authorization": self._authorization})
        answer = fetch(request)
        return answer["exp"] if answer["active"] else 0


class AuthMetadata(auth_pb2_grpc.AuthMetadataServiceServicer):
    def __init__(self, issuer_metadata, client_config):
        known = {name: value for name, value in issuer_metadata.items() if name in METADATA}
        self._metadata = auth_pb2.OAuth2MetadataResponse(**known)
        self._client_config = client_config

    def GetOAuth2Metadata(self, request, context):
        report("oauth2_metadata")
        return self._metadata

    def GetPublicClientConfig(self, request, context):
        report("public_client_config")
        return self._client_config


class Admin(admin_pb2_grpc.AdminServiceServicer):
    def __init__(self, header, tokens):
        self._header = header
        self._tokens = tokens

    def ListProjects(self, request, context):
        metadata = dict(context.invocation_metadata())
        scheme, _, token = metadata.get(self._header, "").partition(" ")
        if scheme != "Bearer":
            outcome = "missing"
        elif self._tokens.is_good(token):
            outcome = "good"
        else:
            outcome = "refused"
        report("rpc", outcome=outcome, token=hashlib.sha256(token.encode()).hexdigest())
        if outcome != "good":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"the token is {outcome}")
        return project_pb2.Projects()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--issuer", required=True)
    arguments.add_argument("--introspection-client", nargs=2, metavar=("ID", "SECRET"), required=True)
    arguments.add_argument("--client-id", required=True)
    arguments.add_argument("--scope", action="append", dest="scopes", default=[])
    arguments.add_argument("--redirect-uri", default="http://localhost:53593/callback")
    arguments.add_argument("--authorization-metadata-key", default="")
    options = arguments.parse_args()

    issuer_metadata = fetch(options.issuer + "/.well-known/openid-configuration")
    client_config = auth_pb2.PublicClientAuthConfigResponse(
        client_id=options.client_id,
        redirect_uri=options.redirect_uri,
        scopes=options.scopes,
        authorization_metadata_key=options.authorization_metadata_key,
    )
    tokens = Tokens(issuer_metadata["introspection_endpoint"], *options.introspection_client)
    header = options.authorization_metadata_key or "authorization"

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    auth_pb2_grpc.add_AuthMetadataServiceServicer_to_server(AuthMetadata(issuer_metadata, client_config), server)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(Admin(header, tokens), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    report("ready", endpoint=f"127.0.0.1:{port}")
    sys.stdin.read()
    server.stop(None)


main()
