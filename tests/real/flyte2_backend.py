"""A small Flyte 2 backend on a free port of localhost, as far as a client that lists projects sees one (Connect).

The client sends no credentials without TLS, so there is a certificate (authority.py), and the authority that signed it
in the file that is named on the command line. It is a resource server like any other (resource_server.py). Its first event
is {"event": "ready", "endpoint": ..}. It ends with its standard input, so that it cannot outlive the tests that started
it.
"""

import argparse
import http.server
import json
import ssl
import sys
import tempfile
import threading

from flyteidl2.auth import auth_service_pb2
from flyteidl2.project.project_service_pb2 import ListProjectsResponse
from google.protobuf.json_format import MessageToJson

from authority import certified
from resource_server import Tokens, fetch, report

AUTH_METADATA = "/flyteidl2.auth.AuthMetadataService/"
LIST_PROJECTS = "/flyteidl2.project.ProjectService/ListProjects"


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.startswith(AUTH_METADATA):
            self.tell(self.path.removeprefix(AUTH_METADATA))
            return
        if self.path != LIST_PROJECTS:
            report("unexpected", path=self.path)
            self.refuse(404, "unimplemented", "there is nothing here")
            return
        outcome = self.server.tokens.judge(self.headers.get("authorization", ""))
        if outcome == "good":
            self.answer(200, "application/proto", ListProjectsResponse().SerializeToString())
        else:
            self.refuse(401, "unauthenticated", f"the token is {outcome}")

    def tell(self, method):
        """Tells how to log in, in the JSON of protobuf, to whoever asks for that as Connect wants it."""
        message = self.server.says.get(method)
        connect = self.headers.get("connect-protocol-version") == "1"
        if message is None or not connect or self.headers.get("content-type") != "application/json":
            self.refuse(404, "unimplemented", "there is nothing here")
            return
        if method == "GetOAuth2Metadata":
            report("oauth2_metadata")
        self.answer(200, "application/json", MessageToJson(message).encode())

    def refuse(self, status, code, message):
        self.answer(status, "application/json", json.dumps({"code": code, "message": message}).encode())

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Standard output is for events."""


def tls(authority_file):
    """Returns a server's context with a certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(certified(authority_file)))
        file.flush()
        context.load_cert_chain(file.name)
    return context


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--issuer", required=True)
    arguments.add_argument("--introspection-client", nargs=2, metavar=("ID", "SECRET"), required=True)
    arguments.add_argument("--authority-file", required=True)
    options = arguments.parse_args()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    server.daemon_threads = True
    server.socket = tls(options.authority_file).wrap_socket(server.socket, server_side=True)
    metadata = fetch(options.issuer + "/.well-known/openid-configuration")
    fields = auth_service_pb2.GetOAuth2MetadataResponse.DESCRIPTOR.fields
    known = {field.name: metadata[field.name] for field in fields if field.name in metadata}
    server.says = {
        "GetOAuth2Metadata": auth_service_pb2.GetOAuth2MetadataResponse(**known),
        "GetPublicClientConfig": auth_service_pb2.GetPublicClientConfigResponse(client_id="cli", scopes=["all"]),
    }
    server.tokens = Tokens(metadata["introspection_endpoint"], *options.introspection_client)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    report("ready", endpoint=f"localhost:{server.server_port}")
    server.tokens.obey(sys.stdin)


main()
