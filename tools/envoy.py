"""Envoy as the demo, the examples and the benchmark run it: found, started on free ports, awaited, asked for metrics, stopped.

Python's standard library is all it needs.
"""

import concurrent.futures
import contextlib
import http.client
import itertools
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS_TO_START = 30
# How many ask at once, where it is about load.
CLIENTS = 4


class Failure(Exception):
    """What went wrong, in words for the person who typed `make`."""


# ---- ports

def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    return unused_ports(1)[0]


def unused_ports(count):
    """So many ports, no two of them the same."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def named_ports(texts):
    return sorted({int(port) for text in texts for port in re.findall(r"(?<=port_value: )\d+", text)})


def free_ports(texts):
    """The ports that these configurations name: each for itself if it is free, else one that stands in for it."""
    ports = {port: port if is_free(port) else free_port() for port in named_ports(texts)}
    for wanted, port in ports.items():
        if port != wanted:
            print(f"port {wanted} is taken, {port} stands in for it", file=sys.stderr)
    return ports


def with_ports(text, ports):
    return re.sub(r"(?<=port_value: )\d+", lambda port: str(ports.get(int(port[0]), port[0])), text)


# ---- the process

def envoy_command():
    command = os.environ.get("ENVOY")
    if not command:
        found = subprocess.run([ROOT / "tools" / "find-envoy"], stdout=subprocess.PIPE, text=True, check=False)
        command = found.stdout
    if not command.strip():
        raise Failure("no Envoy, see above")
    return command.split()


@contextlib.contextmanager
def running(command, out, err=None, prepare=None):
    """A process with stdout and stderr in files, or both in one; it is always stopped. It calls `prepare` before it starts."""
    # Whoever stops us stops what we have started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with open(out, "w") as stdout, open(err, "w") if err else contextlib.nullcontext(subprocess.STDOUT) as stderr:
        try:
            process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stdin=subprocess.DEVNULL,
                                       stdout=stdout, stderr=stderr, preexec_fn=prepare)
        except OSError as error:
            raise Failure(f"{command[0]} does not start: {error}") from error
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def envoy(text, ports, folder):
    """Envoy with this configuration, ready; `stdout` in the folder has the access logs, `stderr` its own."""
    flags = shlex.split(os.environ.get("ENVOY_FLAGS") or "--disable-hot-restart --file-flush-interval-msec 100")
    folder.mkdir(exist_ok=True)
    config = folder / "envoy.yaml"
    config.write_text(with_ports(text, ports))
    admin = ports[int(re.search(r"^admin:.*?port_value: (\d+)", text, re.MULTILINE | re.DOTALL)[1])]
    with running([*envoy_command(), "-c", config, *flags], folder / "stdout", folder / "stderr") as process:
        wait_until(lambda: is_ready(admin), process, folder / "stderr")
        yield process


def is_ready(admin):
    status, body = fetch(admin, "/ready")
    return None if status == 200 else f"{status} {body.strip()}"


def wait_until(unready, process, log, pause=0.05):
    """Waits until `unready` returns nothing instead of the reason why it is too early; asks again after each pause."""
    deadline = time.monotonic() + SECONDS_TO_START
    why = "not asked yet"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failure(f"it ended with {process.returncode}:\n" + tail(log))
        try:
            why = unready()
        except OSError as error:
            why = str(error)
        if not why:
            return
        time.sleep(pause)
    raise Failure(f"not ready after {SECONDS_TO_START} s: {why}\n" + tail(log))


def tail(path):
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])


# ---- requests and metrics

def fetch(port, path, headers=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")


def load(paths, seconds, host):
    """Asks for these paths in turn, with several clients at once: {port: [path, ...]}."""
    until = time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(len(paths) * CLIENTS) as pool:
        clients = [pool.submit(client, port, own, until, host) for port, own in paths.items() for _ in range(CLIENTS)]
    for one in clients:
        one.result()


def client(port, paths, until, host):
    for path in itertools.cycle(paths):
        if time.monotonic() > until:
            return
        fetch(port, path, {"host": host})


def read_metrics(admin):
    """The plugin's counters and gauges: {'traffic_mirror_requests_total{rule="tester"}': 3, ...}."""
    return parse_metrics(fetch(admin, "/stats/prometheus?filter=traffic_mirror")[1])


def parse_metrics(text):
    lines = re.findall(r"^(traffic_mirror_\w+\{.*?\}) (\d+)$", text, re.MULTILINE)
    return {name: int(value) for name, value in lines if "_ms_" not in name}


def total(metrics, name, **labels):
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        value
        for series, value in metrics.items()
        if series.startswith(f"traffic_mirror_{name}{{") and all(label in series for label in wanted)
    )


def is_idle(metrics):
    """Every copy that was sent is answered."""
    sent = total(metrics, "copies_total", outcome="sent")
    return metrics.get("traffic_mirror_in_flight{}") == 0 and total(metrics, "responses_total") == sent


def show_metrics(metrics):
    print("\nMETRICS (/stats/prometheus; series at 0 are left out)")
    for series, value in metrics.items():
        if value or series.endswith("{}"):
            print(f"{value:6}  {series}")
    print()
