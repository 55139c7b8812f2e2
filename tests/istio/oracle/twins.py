"""Routes twice in one Envoy: with Envoy's own mirrors, and without them behind the plugin; and what the upstreams get of both."""

import collections
import contextlib
import dataclasses
import http.client
import json
import os
import subprocess

from checks import Ended, check, same, until
from envoy import ROOT, fetch, tail

ADMIN, UPSTREAM_ADMIN, UPSTREAM, FIRST = 15000, 15001, 9000, 20000
TYPE = "type.googleapis.com/envoy"
# Headers that routes edit, and that the upstreams' log has.
EDITED = ["x-a", "x-b", "x-set", "x-add"]


@dataclasses.dataclass
class Table:
    """A table of routes that a proxy has, with what its plugin is configured as, and requests for it."""

    title: str
    routes: dict
    plugin: dict | None
    requests: list


@dataclasses.dataclass
class Difference:
    """A request whose responses or copies differ."""

    table: Table
    request: dict
    native: tuple
    plugin: tuple


def without_mirrors(tree):
    """Routes without their mirrors."""
    if isinstance(tree, dict):
        return {name: without_mirrors(value) for name, value in tree.items() if name != "requestMirrorPolicies"}
    return [without_mirrors(item) for item in tree] if isinstance(tree, list) else tree


def clusters_of(tree):
    """The clusters that routes or a plugin's configuration name."""
    if isinstance(tree, list):
        return {name for item in tree for name in clusters_of(item)}
    if not isinstance(tree, dict):
        return set()
    found = {name for value in tree.values() for name in clusters_of(value)}
    if isinstance(tree.get("cluster"), str):
        found.add(tree["cluster"])
    for one in tree["weightedClusters"]["clusters"] if "weightedClusters" in tree else []:
        found.add(one["name"])
    if "destination" in tree:
        to = tree["destination"]
        found.add(f"outbound|{to['port']['number']}|{to.get('subset', '')}|{to['host']}")
    return found


def typed(name, **fields):
    return {"@type": f"{TYPE}.{name}", **fields}


def address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def connections(stat_prefix, routes, filters, **more):
    router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
    manager = typed("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix=stat_prefix,
                    route_config=routes, http_filters=[*filters, router], **more)
    return [{"filters": [{"name": "http", "typed_config": manager}]}]


def wasm(plugin):
    module = {"local": {"filename": str(ROOT / "dist" / "traffic_mirror.wasm")}}
    text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(plugin)}
    config = {"name": "mirror", "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": module}, "configuration": text}
    return {"name": "mirror", "typed_config": typed("extensions.filters.http.wasm.v3.Wasm", config=config)}


def admin(port):
    return {"address": address("127.0.0.1", port)}


@contextlib.contextmanager
def started(config, port, folder, name):
    """An Envoy that is ready."""
    file, log = folder / f"{name}.json", folder / f"{name}.log"
    file.write_text(json.dumps(config))
    flags = ["--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "20", "--log-level", "warning"]
    with open(log, "w") as out:
        process = subprocess.Popen([os.environ["ENVOY"], "-c", file, *flags], stdout=out, stderr=subprocess.STDOUT)
    try:
        def attempt():
            if process.poll() is not None:
                raise Ended(f"Envoy ended with {process.returncode}:\n{tail(log)}")
            same(fetch(port, "/ready")[0], 200, "/ready")

        until(attempt, 120)
        yield
    finally:
        process.kill()
        process.wait()


class Upstreams:
    """All upstreams, which write down what they get: an Envoy that responds at each address of the loopback network."""

    def __init__(self, folder):
        self.folder, self.log, self.stack = folder, folder / "requests", contextlib.ExitStack()
        self.addresses, self.read_to = {}, 0

    def __enter__(self):
        line = {name: f"%REQ({name})%" for name in EDITED}
        line.update({"id": "%REQ(x-id)%", "to": "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "host": "%REQ(:authority)%",
                     "path": "%REQ(:path)%", "method": "%REQ(:method)%"})
        log = {"name": "log", "typed_config": typed("extensions.access_loggers.file.v3.FileAccessLog", path=str(self.log),
                                                    log_format={"json_format": line})}
        host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": ""}, "direct_response": {"status": 200}}]}
        listener = {"name": "all", "address": address("0.0.0.0", UPSTREAM),
                    "filter_chains": connections("all", {"virtual_hosts": [host]}, [], access_log=[log])}
        config = {"admin": admin(UPSTREAM_ADMIN), "static_resources": {"listeners": [listener]}}
        self.stack.enter_context(started(config, UPSTREAM_ADMIN, self.folder, "upstream"))
        return self

    def __exit__(self, *_):
        self.stack.close()

    def address(self, cluster):
        number = len(self.addresses) + 1
        return self.addresses.setdefault(cluster, f"127.2.{number // 250}.{number % 250 + 1}")

    def cluster(self, name):
        endpoint = {"endpoint": {"address": address(self.address(name), UPSTREAM)}}
        many = {"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000, "max_retries": 100_000}
        return {"name": name, "connect_timeout": "10s", "circuit_breakers": {"thresholds": [many]},
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}}

    def received(self, count):
        """Waits until as many requests have come since the last time; returns them."""
        def attempt():
            with open(self.log) as log:
                log.seek(self.read_to)
                text = log.read()
            same(text.count("\n"), count, "requests that came")
            return text

        text = until(attempt)
        self.read_to += len(text.encode())
        return [json.loads(line) for line in text.splitlines()]


def send(port, side, requests):
    """Sends requests one after the other; returns the status codes."""
    found = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for number, request in enumerate(requests):
            headers = {"host": request["host"], "x-id": f"{side}.{number}", **request["headers"]}
            connection.request(request["method"], request["path"], headers=headers)
            response = connection.getresponse()
            response.read()
            found.append(response.status)
    return found


def sent_on():
    """Waits until nothing is under way; returns how many requests went to upstreams."""
    def attempt():
        stats = json.loads(fetch(ADMIN, "/stats?format=json&filter=^cluster\\..*upstream_rq_(active|pending_active|total)$")[1])
        counts = collections.Counter()
        for stat in stats["stats"]:
            counts[stat["name"].rpartition(".")[2]] += stat["value"]
        same(counts["upstream_rq_active"] + counts["upstream_rq_pending_active"], 0, "requests under way")
        return counts["upstream_rq_total"]

    return until(attempt)


def config_of(tables, upstreams):
    listeners, clusters = [], set()
    for number, table in enumerate(tables):
        clusters |= clusters_of(table.routes) | clusters_of(table.plugin)
        plain = without_mirrors(table.routes)
        filters = [wasm(table.plugin)] if table.plugin else []
        for side, (routes, filters) in enumerate([(table.routes, []), (plain, filters)]):
            port = FIRST + 2 * number + side
            listeners.append({"name": str(port), "address": address("127.0.0.1", port),
                              "filter_chains": connections(str(port), routes, filters)})
    # An upstream's access log takes the place of an application's, so nothing of Envoy's own goes there.
    return {"admin": admin(ADMIN), "static_resources": {"listeners": listeners,
            "clusters": [upstreams.cluster(name) for name in sorted(clusters)]}}


def exchanged(tables, upstreams, folder):
    """Sends each table's requests to both sides; returns of each request its table, what it was, and what came of it on either side."""
    with started(config_of(tables, upstreams), ADMIN, folder, "twins"):
        statuses = {}
        for number, table in enumerate(tables):
            for side in range(2):
                statuses[number, side] = send(FIRST + 2 * number + side, f"{number}.{side}", table.requests)
        got = collections.defaultdict(list)
        names = {address: name for name, address in upstreams.addresses.items()}
        for line in upstreams.received(sent_on()):
            place = tuple(int(part) for part in line["id"].split("."))
            edited = tuple((name, line[name]) for name in EDITED if line.get(name) is not None)
            got[place].append((names[line["to"]], line["method"], line["host"], line["path"], *edited))
    for number, table in enumerate(tables):
        for index, request in enumerate(table.requests):
            native, plugin = ((statuses[number, side][index], *sorted(got[number, side, index])) for side in range(2))
            yield table, request, native, plugin


def compare(tables, upstreams, folder):
    """Returns the differences of requests to both sides, and how many requests and copies there were."""
    found = list(exchanged(tables, upstreams, folder))
    differences = [Difference(*one) for one in found if one[2] != one[3]]
    return differences, len(found), sum(max(len(native) - 2, 0) for _, _, native, _ in found)


def counts(tables, upstreams, folder):
    """Returns of each table how many requests each cluster got, on either side."""
    found = {id(table): (collections.Counter(), collections.Counter()) for table in tables}
    for table, _, *sides in exchanged(tables, upstreams, folder):
        for counter, (_, *received) in zip(found[id(table)], sides):
            counter.update(cluster for cluster, *_ in received)
    return [found[id(table)] for table in tables]
