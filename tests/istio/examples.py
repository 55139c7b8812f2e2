"""Each example's istio.yaml, as it is, in the proxy that it selects: the table in its README holds."""

import functools
import sys

from checks import check, same, until
from envoy import ROOT, is_idle, total
from outcome import MARKER, deviations, read_table
from resources import gateway, read
from scenario import mesh, scenario
from services import program

HERE = ROOT / "tests" / "istio"
# Where the gateway listens, behind port 80 of its Service; no service of a test has that port.
FRONT = ("127.0.0.1", 8081)
CLUSTER_B = "127.0.2.1"


def table(example):
    return read_table((ROOT / "examples" / example / "README.md").read_text())


def send(proxy, rows, address=None):
    """Sends the rows' requests; returns each path with its row."""
    sent = {}
    for row in rows:
        for _ in range(row.times):
            path = row.numbered(len(sent) + 1)
            sent[path] = row
            status, _ = proxy.ask(row.authority, path, row.headers(), address, method=row.method)
            same(status, row.status, f"{row.method} {path}")
    return sent


def holds(sent, log, names=None):
    """Waits until the services' logs say what the table says."""
    def attempt():
        found = deviations(sent, [line._replace(service=(names or {}).get(line.service, line.service)) for line in log.lines])
        check(not found, "\n".join(sorted(set(found))))

    until(attempt)


def counted(proxy, log, sent):
    """Waits until as many copies are counted as sent as the mirrors got, and each has its response; returns the metrics."""
    def attempt():
        metrics = proxy.metrics()
        same(total(metrics, "copies_total", outcome="sent"), copies(log, sent), f"copies sent, in {metrics}")
        check(is_idle(metrics), f"copies without a response: {metrics}")
        return metrics

    return until(attempt)


def copies(log, sent):
    return sum(line.marker == "true" and is_copy(line, sent) for line in log.lines)


def is_copy(line, sent):
    """Whether the filter has made it: a request of the table may carry the marker itself. A copy may have another path."""
    return line.path not in sent or f"{MARKER}: true" not in sent[line.path].header


def seen(rows, metrics):
    rows = f"{len(rows)} rows of the README's table"
    sent = total(metrics, "copies_total", outcome="sent")
    return f"{rows}; {sent} copies sent, as many at the mirror, all with a response"


def one_mesh(example, workload, to=None, more=lambda proxy, metrics: ""):
    """An example whose plugin is in the sidecar of a workload."""
    rows = table(example)
    with mesh(read(f"examples/{example}/istio.yaml")) as one, one.proxy(workload) as proxy:
        sent = send(proxy, rows, to and (one.pod(to[0]).ip, to[1]))
        holds(sent, one.log)
        metrics = counted(proxy, one.log, sent)
        return seen(rows, metrics) + more(proxy, metrics)


def compared(proxy, metrics):
    same(total(metrics, "compared_total", result="same"), 5, "same")
    same(total(metrics, "compared_total", result="mirror_error"), 1, "mirror_error")
    same(total(metrics, "requests_total", rule="mobile"), 3, "requests of phones")
    return "; 5 compared as same, 1 as mirror_error"


def hidden(proxy, metrics):
    same(total(metrics, "copies_total", outcome="redaction_failed"), 1, "not sent")
    return "; the one that cannot be looked at was not sent"


def failed_alone(proxy, metrics):
    same(total(metrics, "copies_total", outcome="not_wanted"), 9, "not wanted")
    return "; 9 others not wanted"


def beside_baseline(proxy, metrics):
    for mirror in ("candidate", "baseline"):
        for label, value, count in (("result", "different_body", 5), ("field", "body/id", 5), ("field", "body/time", 5)):
            series = "compared_total" if label == "result" else "differences_total"
            same(total(metrics, series, mirror=mirror, **{label: value}), count, f"{mirror}: {value}")
    price = "body/items/*/price"
    same(total(metrics, "differences_total", mirror="candidate", field=price), 1, price)
    same(total(metrics, "differences_total", field=price), 1, f"{price} of both")
    return f"; `body/id` and `body/time` differ in 5 pairs of both mirrors, `{price}` in 1 of the candidate's alone"


def marked(proxy, metrics):
    same(total(metrics, "ignored_total", reason="marked"), 1, "marked")
    return "; the marked one ignored"


for title, function in {
    "examples/bookinfo: sidecar, what it sends": functools.partial(one_mesh, "bookinfo", "productpage-v1"),
    "examples/nginx-versions: sidecar, what it receives": functools.partial(
        one_mesh, "nginx-versions", "nginx-v1", to=("nginx-v1", 80), more=marked),
    "examples/private-data: sidecar, what it receives": functools.partial(
        one_mesh, "private-data", "shop-v1", to=("shop-v1", 80), more=hidden),
    "examples/compare-json: sidecar, what it receives": functools.partial(
        one_mesh, "compare-json", "catalogue-v1", to=("catalogue-v1", 80), more=beside_baseline),
    "examples/failing-requests: sidecar, what it receives": functools.partial(
        one_mesh, "failing-requests", "orders-v1", to=("orders-v1", 80), more=failed_alone),
    "examples/calcbackend: sidecar, what it sends": functools.partial(
        one_mesh, "calcbackend", "calcfrontend-v1", more=compared),
    "examples/httpbin-gateway-api: sidecar, what it sends by an HTTPRoute": functools.partial(
        one_mesh, "httpbin-gateway-api", "curl"),
}.items():
    scenario(title)(function)


@scenario("examples/cross-cluster: ingress gateway")
def cross_cluster():
    resources = read("examples/cross-cluster/istio.yaml")
    (entry,) = [document for document in resources if document["kind"] == "ServiceEntry"]
    entry["spec"]["endpoints"] = [{"address": CLUSTER_B}]
    rows = table("cross-cluster")
    with mesh(resources + gateway("istio-system", FRONT[1])) as one, one.proxy("gateway", "router") as proxy:
        server = [sys.executable, HERE / "services.py", "httpbin-b", CLUSTER_B, "80"]
        with program("httpbin-b", server, (CLUSTER_B, 80), one.log):
            sent = send(proxy, rows, FRONT)
            holds(sent, one.log, {"httpbin-v1": "httpbin-a"})
            copied = total(counted(proxy, one.log, sent), "copies_total", outcome="sent")
        again = send(proxy, rows[:1], FRONT)
        until(lambda: failed(proxy, copied))
    share = f"{rows[0].times} requests: 30 % to 70 % of them copied, as the table says"
    return f"{share}; B killed: {len(again)} requests, each with its response, and each copy `failed`"


def failed(proxy, before):
    """Each copy since B was killed has failed."""
    metrics = proxy.metrics()
    check(is_idle(metrics), metrics)
    sent = total(metrics, "copies_total", outcome="sent") - before
    same(total(metrics, "responses_total", **{"class": "failed"}), sent, "failed")
    check(sent > 0, "nothing was sent")
