"""Measures: the CPU time that a proxy spends on a number of requests, with the proof that the copies were sent."""

import pathlib
import subprocess
import time

import load


def spent(pid):
    """Nanoseconds so far: on a CPU, all threads; Envoy's worker alone; and what they waited for a CPU that others had.

    The scheduler counts in nanoseconds; utime counts in ticks, which is too coarse."""
    total = worker = waited = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        ran, waiting, _ = map(int, (task / "schedstat").read_text().split())
        total, waited = total + ran, waited + waiting
        if (task / "comm").read_text().startswith("wrk:worker_0"):
            worker = ran
    return total, worker, waited


def check_copies(upstream, before, requests, copies, deadline=10):
    """Waits until the mirror has got its copies; raises if it gets too few or too many.

    A sampled number may lie six standard deviations off."""
    expected = requests * copies
    slack = 6 * (expected * (1 - copies)) ** 0.5 + 1 if 0 < copies < 1 else 0
    end = time.monotonic() + deadline
    while True:
        primary, mirror = (now - then for now, then in zip(upstream.received(), before))
        if expected - slack <= mirror <= expected + slack and primary == requests:
            return
        if time.monotonic() > end:
            raise RuntimeError(f"{requests} requests: {primary} reached the primary, {mirror} the mirror")
        time.sleep(0.005)


def closed_loop(proxy, upstream, variant, workload, requests, folder):
    """Sends one round through a variant's listener. Microseconds a request: `cpu` of the process, of its `worker`, and
    `waited` for a core that should be its own."""
    received, before = upstream.received(), spent(proxy.pid)
    try:
        rate = load.closed_loop(workload, requests, proxy.ports[variant.name], folder)
        check_copies(upstream, received, requests, variant.copies)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        raise SystemExit(f"bench: {workload.name}, {variant.name}: {error}\n{proxy.log.read_text()[-2000:]}")
    time.sleep(0.02)  # the last answers of the mirror
    figures = ((now - then) / requests / 1000 for now, then in zip(spent(proxy.pid), before))
    return {"workload": workload.name, "variant": variant.name, "rate": rate,
            **dict(zip(("cpu", "worker", "waited"), figures))}


def fixed_rate(proxy, variant, workload, pace, rate, seconds, seed):
    """Latencies of the primary at a fixed rate, in microseconds."""
    try:
        latencies = load.fixed_rate(pace, workload, rate, seconds, seed, proxy.ports[variant.name])
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        raise SystemExit(f"bench: {workload.name}, {variant.name} at {rate}/s: {error}")
    return {"workload": workload.name, "variant": variant.name, "rate": rate, **latencies}
