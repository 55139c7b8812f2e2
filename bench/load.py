"""Sends the load: h2load as fast as it is answered, pace at a fixed rate."""

import json
import pathlib
import re
import subprocess

import documents
import envoys

# Twelve headers of a browser behind a gateway, as long as they commonly are.
HEADERS = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.7,de;q=0.3",
    "accept-encoding": "gzip, deflate, br",
    "authorization": "Bearer eyJhbGciOiJFUzI1NiJ9." + "MDEyMzQ1Njc4OWFiY2RlZg" * 8,
    "cookie": "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark",
    "referer": "https://shop.example/productpage?u=normal",
    "x-request-id": "5b1f3c2e-9f3a-4d0c-8d5e-0c7f1b2a3d4e",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "x-user-id": "user-7261",
    "x-tenant": "acme",
    "cache-control": "no-cache",
}
GRPC_HEADERS = {"content-type": "application/grpc", "te": "trailers"}
JSON_HEADERS = {"content-type": "application/json"}


def headers(workload):
    """The workload's headers: the twelve, and fillers up to its count."""
    fillers = {f"x-filler-{number:02}": f"value-of-filler-{number:02}" for number in range(100)}
    special = GRPC_HEADERS if workload.grpc else JSON_HEADERS if workload.json else {}
    return dict(list({**special, **HEADERS, **fillers}.items())[: workload.headers])


def data_file(workload, folder):
    """Writes the request body: JSON, or any bytes; for gRPC a message behind its five-byte prefix."""
    file = pathlib.Path(folder) / f"body-{workload.body}{'-grpc' * workload.grpc}{'-json' * workload.json}"
    if not file.exists() and workload.json:
        file.write_text(documents.items(workload.body))
    elif not file.exists():
        prefix = b"\0" + workload.body.to_bytes(4, "big") if workload.grpc else b""
        file.write_bytes(prefix + b"0123456789abcdef" * (workload.body // 16 + 1))
        with open(file, "r+b") as opened:
            opened.truncate(len(prefix) + workload.body)
    return file


def arguments(workload, folder):
    """What h2load is told about the requests."""
    out = [] if workload.http2 else ["--h1"]
    for name, value in headers(workload).items():
        out += ["-H", f"{name}: {value}"]
    return out + (["-d", data_file(workload, folder)] if workload.body else [])


def h2load(options, requests, port, path, deadline):
    """Runs h2load, and raises unless every request was answered with 2xx."""
    argv = ["h2load", *map(str, options), "-n", str(requests), f"http://127.0.0.1:{port}{path}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=deadline,
                          preexec_fn=envoys.pinned(envoys.LOAD_CORE))
    good = re.search(r"status codes: (\d+) 2xx", done.stdout)
    finished = re.search(r"finished in ([\d.]+)(us|ms|s),", done.stdout)
    if not good or not finished or int(good[1]) != requests:
        raise RuntimeError(f"not every request was answered with 2xx:\n{done.stdout[-1500:]}{done.stderr[-500:]}")
    return requests / float(finished[1]) / {"us": 1e-6, "ms": 1e-3, "s": 1}[finished[2]]


def closed_loop(workload, requests, port, folder, deadline=60):
    """Keeps a few requests under way, each followed by the next when it is answered; returns their rate per second."""
    shape = ["-c", 2, "-m", workload.at_once // 2] if workload.http2 else ["-c", workload.at_once]
    return h2load(shape + arguments(workload, folder), requests, port, workload.path, deadline)


def fixed_rate(pace, workload, rate, seconds, seed, port):
    """Sends GETs at random moments, on average `rate` a second; returns what `pace` prints."""
    lines = [f"GET {workload.path} HTTP/1.1", "host: bench", *(f"{name}: {value}" for name, value in headers(workload).items())]
    argv = [pace, str(port), str(rate), str(seconds), str(seed)]
    done = subprocess.run(argv, input="\r\n".join([*lines, "", ""]), capture_output=True, text=True,
                          timeout=seconds + 30, preexec_fn=envoys.pinned(envoys.LOAD_CORE))
    if done.returncode:
        raise RuntimeError(f"pace: {done.stderr}")
    return json.loads(done.stdout)
