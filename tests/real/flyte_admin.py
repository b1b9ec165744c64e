"""A small Flyte Admin on a free port of 127.0.0.1, made of flyteidl's own stubs.

It tells clients how to log in (AuthMetadataService) and lists no projects to whoever has a good token (AdminService).
With `--authority-file` it speaks TLS, with a certificate of an authority that it writes there (authority.py). It is a
resource server like any other (resource_server.py). Its first event is {"event": "ready", "endpoint": ..}. It
ends with its standard input, so that it cannot outlive the tests that started it.
"""

import argparse
import sys
from concurrent import futures

import grpc
from flyteidl.admin import project_pb2
from flyteidl.service import admin_pb2_grpc, auth_pb2, auth_pb2_grpc

from authority import certified
from resource_server import Tokens, fetch, report

# Every name of an answer of GetOAuth2Metadata that the issuer's own metadata (RFC 8414) has as well.
METADATA = [field.name for field in auth_pb2.OAuth2MetadataResponse.DESCRIPTOR.fields]

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
    def __init__(self, header, tokens, refusal):
        self._header = header
        self._tokens = tokens
        self._refusal = refusal

    def ListProjects(self, request, context):
        metadata = dict(context.invocation_metadata())
        outcome = self._tokens.judge(metadata.get(self._header, ""))
        if outcome != "good":
            context.abort(self._refusal, f"the token is {outcome}")
        return project_pb2.Projects()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--issuer", required=True)
    arguments.add_argument("--introspection-client", nargs=2, metavar=("ID", "SECRET"), required=True)
    arguments.add_argument("--client-id", required=True)
    arguments.add_argument("--scope", action="append", dest="scopes", default=[])
    arguments.add_argument("--redirect-uri", default="http://localhost:53593/callback")
    # Added to the authorization endpoint that it names: parameters that this issuer wants of everybody (RFC 6749, 3.1).
    arguments.add_argument("--authorization-query", default="")
    arguments.add_argument("--authority-file")
    arguments.add_argument("--authorization-metadata-key", default="")
    arguments.add_argument("--refusal", choices=["UNAUTHENTICATED", "UNKNOWN"], default="UNAUTHENTICATED")
    options = arguments.parse_args()

    issuer_metadata = fetch(options.issuer + "/.well-known/openid-configuration")
    if options.authorization_query:
        issuer_metadata["authorization_endpoint"] += "?" + options.authorization_query
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
    admin = Admin(header, tokens, grpc.StatusCode[options.refusal])
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
    if options.authority_file:
        credentials = grpc.ssl_server_credentials([certified(options.authority_file)])
        endpoint = f"localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    else:
        endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    report("ready", endpoint=endpoint)
    tokens.obey(sys.stdin)
    server.stop(None)


main()
