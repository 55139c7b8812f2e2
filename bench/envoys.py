"""Runs Envoy on a core of its own, with a configuration that is built here, and tells its ports; tools/envoy.py starts it."""

import contextlib
import ctypes
import json
import os
import pathlib
import signal
import sys
import tempfile

import comparing
from plan import CLUSTERS

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(1, str(ROOT / "tools"))

import envoy  # noqa: E402

CORES = sorted(os.sched_getaffinity(0))
# The proxy has a core for itself. Upstreams and load share the other one, or have one each where there are three.
PROXY_CORE, UPSTREAM_CORE, LOAD_CORE = CORES[-1], CORES[0], CORES[1 if len(CORES) > 2 else 0]
LARGEST_BODY = 32 << 20
TYPE = "type.googleapis.com/envoy.extensions."


def pinned(core):
    """For a child before it starts: keeps it on one core, and ends it when this process ends, however that happens."""

    def prepare():
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        os.sched_setaffinity(0, {core})

    return prepare


def worker_process(pid):
    """The process itself or the descendant that is Envoy: the command may be a launcher that stays."""
    tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
    if any((task / "comm").read_text().startswith("wrk:") for task in tasks):
        return pid
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return next(filter(None, map(worker_process, children)), None)


class Envoy:
    """A running Envoy: its process, its admin port and its listeners' ports by name."""

    def __init__(self, process, log, admin):
        self.pid, self.log, self.admin = worker_process(process.pid), log, admin
        listeners = json.loads(self.get("/listeners?format=json"))["listener_statuses"]
        self.ports = {one["name"]: one["local_address"]["socket_address"]["port_value"] for one in listeners}

    def get(self, path):
        """Asks the admin interface."""
        status, body = envoy.fetch(self.admin, path)
        if status != 200:
            raise OSError(f"{path}: {status}")
        return body

    def received(self):
        """How many requests the upstream's two sides have got: (primary, mirror)."""
        stats = json.loads(self.get("/stats?format=json&filter=^http\\.(primary|mirror)\\.downstream_rq_total$"))
        counts = {one["name"].split(".")[1]: one["value"] for one in stats["stats"]}
        return counts["primary"], counts["mirror"]


@contextlib.contextmanager
def running(config, core, workers=1):
    """Starts Envoy, pinned to `core`, and waits until it is ready."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        folder = pathlib.Path(folder)
        file, address, log = folder / "envoy.json", folder / "admin", folder / "log"
        file.write_text(json.dumps(config))
        argv = [*envoy.envoy_command(), "-c", file, "--concurrency", str(workers), "--disable-hot-restart", "-l", "warning",
                "--admin-address-path", address]

        def admin():
            _, _, port = address.read_text().rpartition(":")
            return int(port) if port else None

        def unready():
            return envoy.is_ready(admin()) if address.exists() and admin() else "no admin address"

        with envoy.running(argv, log, prepare=pinned(core)) as process:
            envoy.wait_until(unready, process, log, pause=0.002)
            yield Envoy(process, log, admin())


def bootstrap(listeners, clusters):
    return {
        "admin": {"address": socket_address(0)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        # Otherwise Envoy warns that it accepts connections without bound.
        "overload_manager": {"resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": TYPE + "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": 10000,
            },
        }]},
    }


def socket_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name, route, filters, http2, prefix=None):
    """A listener of one route, on a port that the kernel picks."""
    manager = {
        "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": prefix or "proxy",
        "codec_type": "HTTP2" if http2 else "HTTP1",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": route}]},
        "http_filters": [*filters, {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": TYPE + "filters.http.router.v3.Router"},
        }],
    }
    chain = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    # Lua buffers the complete body here; the others do not reach it.
    return {"name": name, "address": socket_address(0), "filter_chains": [{"filters": chain}],
            "per_connection_buffer_limit_bytes": LARGEST_BODY}


def cluster(name, port, http2):
    protocol = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    options = {"@type": TYPE + "upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": protocol}
    endpoint = {"endpoint": {"address": socket_address(port)}}
    return {
        "name": name, "type": "STATIC", "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {TYPE.split("/")[1] + "upstreams.http.v3.HttpProtocolOptions": options},
    }


def upstream_config(http2):
    """Two listeners that read the whole request and answer it: what was mirrored is counted by their stats.

    Without the buffer filter direct_response would answer, and close the connection, before the body has come."""
    buffering = {
        "name": "envoy.filters.http.buffer",
        "typed_config": {"@type": TYPE + "filters.http.buffer.v3.Buffer", "max_request_bytes": LARGEST_BODY},
    }
    answer = {"status": 200, "body": {"inline_string": "x" * 100}}
    grpc = {"header": {"key": "grpc-status", "value": "0"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    routes = [
        {"match": {"prefix": "/", "grpc": {}}, "direct_response": {"status": 200},
         "response_headers_to_add": [grpc]},
        {"match": {"prefix": "/empty"}, "direct_response": {"status": 200}},
        {"match": {"prefix": "/"}, "direct_response": answer},
    ]
    sides = ("primary", "mirror")
    listeners = [listener(side, comparing.routes(side) + routes, [buffering], http2, side) for side in sides]
    for one in listeners:
        manager = one["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"]["max_direct_response_body_size_bytes"] = LARGEST_BODY
    return bootstrap(listeners, [])


def proxy_config(variants, modules, upstream, http2):
    """One listener for each variant, all over the same clusters."""
    clusters = [cluster("primary", upstream.ports["primary"], http2)]
    clusters += [cluster(name, upstream.ports["mirror"], http2) for name in CLUSTERS]
    return bootstrap([variant_listener(variant, modules, http2) for variant in variants], clusters)


def variant_listener(variant, modules, http2):
    action = {"cluster": "primary"}
    if variant.native:
        fraction = {"numerator": round(variant.native * 10000), "denominator": "MILLION"}
        action["request_mirror_policies"] = [
            {"cluster": name, "runtime_fraction": {"default_value": fraction}}
            for name in CLUSTERS[: max(1, round(variant.copies))]
        ]
    filters = []
    if variant.lua:
        filters = [{"name": "envoy.filters.http.lua", "typed_config": {
            "@type": TYPE + "filters.http.lua.v3.Lua", "default_source_code": {"inline_string": variant.lua}}}]
    if variant.module:
        filters = [wasm_filter(variant.name, modules[variant.module], variant.plugin, variant.environment)]
    return listener(variant.name, [{"match": {"prefix": "/"}, "route": action}], filters, http2)


def wasm_filter(name, module, plugin, environment=None):
    """A Wasm filter of this name, with a VM of its own."""
    text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(plugin)}
    vm = {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(module)}}}
    if environment:
        vm["environment_variables"] = {"key_values": environment}
    config = {"name": name, "vm_config": vm, "configuration": text, "failure_policy": "FAIL_CLOSED"}
    return {"name": name, "typed_config": {"@type": TYPE + "filters.http.wasm.v3.Wasm", "config": config}}
