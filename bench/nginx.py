"""nginx's mirror module: a second peer, measured against the same nginx that does not mirror."""

import contextlib
import pathlib
import socket
import tempfile
from dataclasses import dataclass

import envoys
from envoys import envoy
from plan import Variant

# nginx keeps the mirror's connection only where the answer has no body: both cases are measured.
VARIANTS = [
    Variant("nginx", "no mirroring"),
    Variant("nginx-mirror", "mirror, 100 %", 1),
    Variant("nginx-mirror-empty", "mirror, 100 %, answers without a body", 1),
]

WORKLOADS = ("get-12", "post-16k", "post-1m")

CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 0; client_body_buffer_size 2m; keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream primary {{ server 127.0.0.1:{primary}; keepalive 64; keepalive_requests 1000000000; }}
  upstream mirror {{ server 127.0.0.1:{mirror}; keepalive 64; keepalive_requests 1000000000; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {{ listen 127.0.0.1:{ports[0]}; location / {{ proxy_pass http://primary; }} }}
  server {{
    listen 127.0.0.1:{ports[1]};
    location / {{ mirror /copy; proxy_pass http://primary; }}
    location = /copy {{ internal; proxy_pass http://mirror$request_uri; }}
  }}
  server {{
    listen 127.0.0.1:{ports[2]};
    location / {{ mirror /copy; proxy_pass http://primary; }}
    location = /copy {{ internal; proxy_pass http://mirror/empty$request_uri; }}
  }}
}}
"""


@dataclass
class Nginx:
    """A running nginx, with what measure.py asks of an Envoy."""

    pid: int
    ports: dict
    log: pathlib.Path


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def is_closed(port):
    socket.create_connection(("127.0.0.1", port), 1).close()


@contextlib.contextmanager
def running(upstream, core):
    """Starts nginx as one process, pinned to `core`."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ports = free_ports(len(VARIANTS))
        file, log = pathlib.Path(folder) / "nginx.conf", pathlib.Path(folder) / "log"
        file.write_text(CONFIG.format(folder=folder, ports=ports, **upstream.ports))
        argv = ["nginx", "-p", folder, "-e", "stderr", "-c", file]
        with envoy.running(argv, log, prepare=envoys.pinned(core)) as process:
            envoy.wait_until(lambda: is_closed(ports[0]), process, log, pause=0.01)
            yield Nginx(process.pid, {variant.name: port for variant, port in zip(VARIANTS, ports)}, log)
