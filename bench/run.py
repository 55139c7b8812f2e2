#!/usr/bin/env python3
"""`make bench`: what the filter costs, beside what a user would pick instead. bench/README.md tells how and why."""

import argparse
import contextlib
import importlib.util
import json
import os
import pathlib
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import comparing
import envoys
import growth
import measure
import nginx
import plan
import redacting
import report
import sidecar

BENCH = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or envoys.ROOT / "target").resolve()
# What part of the time may be gone when a phase begins another start.
PHASES = {"sidecar": 0.15, "cpu": 0.7, "latency": 0.7, "compare": 0.8, "redact": 0.87, "nginx": 0.9, "growth": 0.95}
# How often a phase starts its proxy at most: most of the time is for what the targets judge.
STARTS = {"sidecar": 3, "compare": 4, "redact": 4, "nginx": 3, "growth": 3}
PACED = {"none", "native", "lua", "filter-0%", "filter-100%"}
FLOORS = ["floor_idle", "floor_told", "floor_asking", "floor", "floor_books", "floor_body", "floor_books_body"]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="a smoke test of a minute; writes no results into bench/")
    add("--phases", default=",".join(PHASES), help="what to measure (latency: together with cpu)")
    add("--workloads", default=",".join(workload.name for workload in plan.WORKLOADS), help="for the CPU phase")
    add("--variants", default="", help="for the CPU phase; empty: all")
    add("--starts", type=int, default=8, help="how often each proxy is started, but for phases where fewer do")
    add("--rounds", type=int, default=4, help="rounds of each variant in a start")
    add("--module", type=pathlib.Path, default=envoys.ROOT / "dist/traffic_mirror.wasm", help="the filter")
    add("--compare-module", type=pathlib.Path, default=envoys.ROOT / "dist/traffic_mirror_compare.wasm",
        help="the filter that compares responses in full")
    add("--against", type=pathlib.Path, help="another build of the filter, compared with the first")
    add("--no-filter", action="store_true", help="the peers alone")
    add("--minutes", type=float, default=30, help="after which no further start is begun")
    add("--seed", type=int, default=int(time.time()), help="of the order of rounds")
    add("--out", type=pathlib.Path, help="where RESULTS.md and the pictures go (bench/, if all is measured)")
    add("--from-raw", type=pathlib.Path, help="measure nothing, report what an earlier run measured")
    return parser.parse_args()


def missing(asked):
    """What is not there, each with the way to get it."""
    tools = {"h2load": "apt-get install nghttp2-client", "cargo": "https://rustup.rs"}
    if "nginx" in asked.phases:
        tools["nginx"] = "apt-get install nginx-light, or --phases without nginx"
    os.environ["PATH"] += ":/usr/sbin"  # where Debian has nginx
    lacking = [f"{tool} ({how})" for tool, how in tools.items() if not shutil.which(tool)]
    if asked.out and not importlib.util.find_spec("matplotlib"):
        lacking.append(f"matplotlib (pip install -r {BENCH / 'requirements.txt'})")
    for module in [] if asked.no_filter else filter(None, [asked.module, asked.compare_module, asked.against]):
        if not module.exists():
            lacking.append(f"{module} (make build)")
    return lacking


def build():
    """Builds the floor modules and the paced load generator; returns their paths."""

    def cargo(*more):
        argv = ["cargo", "build", "--quiet", "--locked", "--release"]
        subprocess.run([*argv, *more], check=True, cwd=envoys.ROOT)

    cargo("--package", "pace", "--target-dir", TARGET)
    cargo("--manifest-path", BENCH / "floor/Cargo.toml", "--target-dir", TARGET / "bench", "--examples",
          "--target", "wasm32-wasip1")
    floors = TARGET / "bench/wasm32-wasip1/release/examples"
    modules = {name: floors / f"{name}.wasm" for name in FLOORS}
    return TARGET / "release/pace", modules


class Bench:
    """One run: what it was asked, what it has measured so far."""

    def __init__(self, asked, scratch):
        self.asked, self.scratch, self.random = asked, scratch, random.Random(asked.seed)
        self.pace, self.modules = build()
        self.variants = list(plan.PEERS)
        if not asked.no_filter:
            self.modules["filter"] = asked.module.resolve()
            self.modules["compare"] = asked.compare_module.resolve()
            self.variants += plan.filter_variants()
        if asked.against:
            self.modules["against"] = asked.against.resolve()
            self.variants += plan.filter_variants("against")
        if asked.variants:
            self.variants = [variant for variant in self.variants if variant.name in asked.variants.split(",")]
        self.rows = {phase: [] for phase in PHASES}
        self.half = 0  # requests a second: one rate for all starts

    def starts(self, phase):
        """Counts a phase's starts: at least one, and no more when its time is over."""
        most = min(self.asked.starts, STARTS.get(phase, self.asked.starts))
        for start in range(most):
            if start and time.monotonic() - STARTED > self.asked.minutes * 60 * PHASES[phase]:
                note(f"{phase}: out of time after {start} of {most} starts")
                return
            yield start
            note(f"{phase}: start {start + 1} of {most}")

    def shuffled(self, items):
        return self.random.sample(items, len(items))

    def length(self, workload):
        return max(16, workload.requests // 4) if self.asked.quick else workload.requests

    @contextlib.contextmanager
    def proxy(self, variants, upstream, http2=False):
        """Starts a proxy with one listener for each variant: in random order, as memory is laid out in that order."""
        config = envoys.proxy_config(self.shuffled(variants), self.modules, upstream, http2)
        with envoys.running(config, envoys.PROXY_CORE) as proxy:
            yield proxy

    def round(self, phase, start, number, proxy, upstream, variant, workload, requests=None):
        requests = requests or self.length(workload)
        row = measure.closed_loop(proxy, upstream, variant, workload, requests, self.scratch)
        if phase:
            self.rows[phase].append({"start": start, "round": number, **row})
        return row

    def interleaved(self, phase, start, proxy, upstream, pairs):
        """Warms every listener up, then sends the rounds: workloads in random order, and variants inside each."""
        for workload, variants in pairs:
            for variant in variants:
                self.round(None, start, 0, proxy, upstream, variant, workload, self.length(workload) // 2)
        for number in range(self.asked.rounds):
            for workload, variants in self.shuffled(pairs):
                for variant in self.shuffled(variants):
                    self.round(phase, start, number, proxy, upstream, variant, workload)

    def cpu(self, upstreams):
        """The main table; with the latencies, as they want the rate that `none` can do in the same process."""
        asked = self.asked.workloads.split(",")
        for start in self.starts("cpu"):
            for http2, upstream in upstreams.items():
                workloads = [one for one in plan.WORKLOADS if one.http2 == http2 and one.name in asked]
                pairs = [(workload, plan.compared(workload, self.variants)) for workload in workloads]
                if not pairs:
                    continue
                with self.proxy(self.variants, upstream, http2) as proxy:
                    self.interleaved("cpu", start, proxy, upstream, pairs)
                    if not http2 and "latency" in self.asked.phases:
                        self.latency(start, proxy)

    def latency(self, start, proxy):
        workload = plan.WORKLOADS[0]
        first = ("none", workload.name)
        rates = [row["rate"] for row in self.rows["cpu"] if (row["variant"], row["workload"]) == first]
        if not rates:
            return
        self.half = self.half or round(statistics.median(rates) / 2)
        for number in range((self.asked.rounds + 1) // 2):
            for variant in self.shuffled([one for one in self.variants if one.name in PACED]):
                seconds = 1 if self.asked.quick else 2
                row = measure.fixed_rate(proxy, variant, workload, self.pace, self.half, seconds, start * 100 + number)
                self.rows["latency"].append({"start": start, "round": number, **row})

    def sidecar(self, _upstreams):
        """What a proxy pays before its first request."""
        modules = {name: path for name, path in self.modules.items() if name in sidecar.MODULES}
        for start in self.starts("sidecar"):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                self.rows["sidecar"] += sidecar.start(modules, start, self.random, pathlib.Path(folder))

    def nginx(self, upstreams):
        workloads = [workload for workload in plan.WORKLOADS if workload.name in nginx.WORKLOADS]
        for start in self.starts("nginx"):
            with nginx.running(upstreams[False], envoys.PROXY_CORE) as server:
                self.interleaved("nginx", start, server, upstreams[False], [(one, nginx.VARIANTS) for one in workloads])

    def one_proxy(self, phase, upstream, variants, pairs, check=lambda proxy: None):
        """A phase whose variants are the listeners of one proxy; `check` looks at that after each start's rounds."""
        if self.asked.no_filter:
            return
        pairs = list(pairs)
        for start in self.starts(phase):
            with self.proxy(variants, upstream) as proxy:
                self.interleaved(phase, start, proxy, upstream, pairs)
                check(proxy)

    def compare(self, upstreams):
        """What comparing responses costs."""
        self.one_proxy("compare", upstreams[False], comparing.VARIANTS, comparing.plan(), comparing.check)

    def redact(self, upstreams):
        """What hiding values on copies costs."""
        self.one_proxy("redact", upstreams[False], redacting.VARIANTS, redacting.plan())

    def growth(self, upstreams):
        """What more rules, mirrors, bytes and headers cost."""
        self.one_proxy("growth", upstreams[False], growth.variants(), growth.plan())

    def run(self):
        with contextlib.ExitStack() as stack:
            upstreams = {
                http2: stack.enter_context(envoys.running(envoys.upstream_config(http2), envoys.UPSTREAM_CORE))
                for http2 in (False, True)
            }
            phases = self.asked.phases.split(",")
            for phase in [self.sidecar, self.cpu, self.compare, self.redact, self.nginx, self.growth]:
                if phase.__name__ in phases:
                    phase(upstreams)

    def results(self):
        """What has been measured so far."""
        modules = {name: sidecar.sizes(path) for name, path in self.modules.items()}
        return {"machine": machine(), "modules": modules, "seed": self.asked.seed, **self.rows}


def machine():
    """What the figures were made on and with."""
    cpu = pathlib.Path("/proc/cpuinfo").read_text().split("model name")[1].split(":")[1].split("\n")[0].strip()

    def version(*command):
        return subprocess.run([*command, "--version"], capture_output=True, text=True).stdout.split()[-1]

    return {"cpu": cpu, "cores": len(envoys.CORES), "kernel": platform.release(),
            "envoy": version(*envoys.envoy.envoy_command()).split("/")[1], "load": version("h2load").split("/")[1]}


def note(text):
    print(f"[{time.monotonic() - STARTED:4.0f} s] {text}", file=sys.stderr, flush=True)


def main():
    asked = options()
    parts = (asked.quick, asked.against, asked.no_filter, asked.variants, asked.from_raw,
             len(asked.phases.split(",")) < len(PHASES), len(asked.workloads.split(",")) < len(plan.WORKLOADS))
    if asked.quick:
        asked.starts, asked.rounds = 1, 1
    if not any(parts):
        asked.out = asked.out or BENCH
    if asked.from_raw:
        results = json.loads(asked.from_raw.read_text())
    else:
        if lacking := missing(asked):
            raise SystemExit(f"bench: missing {'; '.join(lacking)}")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))
        os.sched_setaffinity(0, {envoys.LOAD_CORE})
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            bench = Bench(asked, scratch)
            try:
                bench.run()
            finally:
                results = bench.results()
                raw = TARGET / "bench/results.json"
                raw.write_text(json.dumps(results))
                note(f"what was measured is in {raw}")
    text = report.markdown(results)
    print(text)
    if asked.out:
        import pictures  # matplotlib is not needed before

        asked.out.mkdir(exist_ok=True)
        (asked.out / "RESULTS.md").write_text(text)
        pictures.results(results, asked.out / "results.svg")
        if results["growth"]:
            pictures.growth(results, asked.out / "growth.svg")


STARTED = time.monotonic()
if __name__ == "__main__":
    try:
        main()
    except envoys.envoy.Failure as failure:
        raise SystemExit(f"bench: {failure}") from failure
