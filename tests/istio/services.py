"""What stands behind the proxies: services that log what they get, the registry that has the plugin's image, and their clients."""

import collections
import contextlib
import gzip
import hashlib
import http.client
import http.server
import io
import itertools
import json
import re
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from typing import NamedTuple

from checks import until

# Requests from here pass the proxy, as those of a Pod's container do.
CALLER = "127.9.9.9"
MARKER = "x-mirrored-request"
# METHOD PATH host=HOST x-mirrored-request=VALUE, as the services of the examples write it.
LINE = re.compile(rf"^(\S+) (\S+) host=(\S+) {MARKER}=(\S+)$")


class Line(NamedTuple):
    """A request that a service got."""

    service: str
    path: str
    authority: str
    marker: str
    # None where the service is a program of its own, which does not write it.
    authorization: str | None = None


class Log:
    """What all services got, in order."""

    def __init__(self):
        self.lines = []
        # The identities in the certificates of their clients, with the services' names; None without TLS.
        self.clients = set()

    def of(self, service):
        return [line for line in self.lines if line.service == service]


# ---- services

class Server(http.server.ThreadingHTTPServer):
    """An HTTP server on a thread of its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, handler):
        super().__init__(address, handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, *_):
        """A client that goes away is none of ours."""

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body in one piece: apart, the second waits 40 ms for the first one's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Nothing: what matters is in the log of the services."""

    def body(self):
        if self.headers.get("transfer-encoding") == "chunked":
            parts = iter(lambda: self.rfile.read(int(self.rfile.readline(), 16) + 2)[:-2], b"")
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def respond(self, status, body, content_type="text/plain", **headers):
        self.send_response(status)
        for name, value in {"content-type": content_type, "content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def identity(connection):
    """The name in the client's certificate."""
    if not isinstance(connection, ssl.SSLSocket):
        return None
    ((_, name),) = connection.getpeercert()["subjectAltName"]
    return name


def service(name, address, log):
    """A service that answers everything with its name, below /broken with a server error."""

    class Service(Handler):
        def do_GET(self):
            self.body()
            marker = self.headers.get(MARKER, "-")
            log.lines.append(Line(name, self.path, self.headers["host"], marker, self.headers.get("authorization", "")))
            log.clients.add((name, identity(self.connection)))
            self.respond(500 if self.path.startswith("/broken") else 200, f"{name}\n".encode())

        do_POST = do_PUT = do_GET

    return Server(address, Service)


@contextlib.contextmanager
def program(name, command, address, log):
    """A service in a process of its own, which prints its log; it is ready when it listens."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def read():
        for line in process.stdout:
            if found := LINE.match(line):
                log.lines.append(Line(name, *found.groups()[1:]))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        until(lambda: socket.create_connection(address).close())
        yield process
    finally:
        process.kill()
        process.wait()
        reader.join()


class Printed:
    """The log of a service that is a program."""

    @staticmethod
    def append(line):
        # In one piece: several threads write.
        print(f"GET {line.path} host={line.authority} {MARKER}={line.marker}\n", end="", flush=True)

    lines = property(lambda self: self)
    clients = set()


# ---- the registry

class Registry:
    """A registry with the image that `make image` built, and with others that tests make."""

    def __init__(self, address, layout):
        self.blobs, self.tags = {}, {}
        for blob in layout.glob("blobs/sha256/*"):
            self.blobs[f"sha256:{blob.name}"] = blob.read_bytes()
        (built,) = json.loads((layout / "index.json").read_text())["manifests"]
        self.manifest = json.loads(self.blobs[built["digest"]])
        self.version = built["annotations"]["org.opencontainers.image.ref.name"]
        self.tags[self.version] = built["digest"]
        self.server = Server(address, self.handler())

    def module(self):
        """The module in the image."""
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(self.blobs[self.manifest["layers"][-1]["digest"]]))) as files:
            return files.extractfile("plugin.wasm").read()

    def add_layout(self, layout):
        """Adds the image of another layout under its own tag."""
        self.blobs.update({f"sha256:{blob.name}": blob.read_bytes() for blob in layout.glob("blobs/sha256/*")})
        (built,) = json.loads((layout / "index.json").read_text())["manifests"]
        self.tags[built["annotations"]["org.opencontainers.image.ref.name"]] = built["digest"]

    def push(self, tag, module):
        """Adds an image like ours with another module."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w:gz") as files:
            file = tarfile.TarInfo("plugin.wasm")
            file.size = len(module)
            files.addfile(file, io.BytesIO(module))
        layer = layer.getvalue()
        last = {**self.manifest["layers"][-1], "digest": self.add(layer), "size": len(layer)}
        self.tags[tag] = self.add(json.dumps({**self.manifest, "layers": [last]}).encode())

    def add(self, blob):
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        self.blobs[digest] = blob
        return digest

    def handler(registry):
        class Request(Handler):
            def do_GET(self):
                kind, name = self.path.split("/")[-2:]
                digest = registry.tags.get(name, name)
                blob = registry.blobs.get(digest)
                if self.path == "/v2/":
                    self.respond(200, b"{}", "application/json")
                elif blob is None:
                    self.respond(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', "application/json")
                else:
                    media = registry.manifest["mediaType"] if kind == "manifests" else "application/octet-stream"
                    self.respond(200, blob, media, docker_content_digest=digest)

            do_HEAD = do_GET

        return Request


# ---- clients

def ask(address, path, headers, method="GET", body=None, source=CALLER):
    """One request on a connection of its own; returns status and body."""
    connection = http.client.HTTPConnection(*address, timeout=10, source_address=(source, 0))
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace").strip()


class Load:
    """Clients that send requests all the time, each on a connection that it keeps."""

    CLIENTS = 4

    def __init__(self, address, path, headers):
        self.address, self.path, self.headers = address, path, headers
        self.responses = collections.Counter()
        self.slowest = 0.0
        self.numbers = itertools.count(1)
        self.stopped = threading.Event()

    def __enter__(self):
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(self.CLIENTS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def run(self):
        connection = http.client.HTTPConnection(*self.address, timeout=10, source_address=(CALLER, 0))
        while not self.stopped.is_set():
            started = time.monotonic()
            try:
                connection.request("GET", f"{self.path}?n={next(self.numbers)}", headers=self.headers)
                response = connection.getresponse()
                response.read()
                outcome = response.status
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                outcome = repr(error)
            self.responses[outcome] += 1
            self.slowest = max(self.slowest, time.monotonic() - started)

    def pass_by(self, count):
        """Waits until so many further requests have their response."""
        target = self.responses.total() + count
        while self.responses.total() < target:
            time.sleep(0.01)


if __name__ == "__main__":
    # A service that can be killed: NAME ADDRESS PORT
    name, host, port = sys.argv[1:]
    with service(name, (host, int(port)), Printed()):
        threading.Event().wait()
