"""Envoy Gateway without Kubernetes, with deploy/envoy-gateway/policy.yaml: it starts the proxy. `make envoy-gateway-test`."""

import contextlib
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import scenario
from checks import check, same, until
from envoy import ROOT, fetch, is_idle, parse_metrics, total
from mesh import Process
from resources import REGISTRY, documents, read
from services import Log, Registry, ask, service

BUILT = ROOT / ".tools" / "istio" / "envoy-gateway"
FRONT = ("127.0.0.1", 8888)
# Of so many, 5 % are at least one, but for one run in a billion.
MANY = 400
SERVICES = {"shop": "127.0.1.1", "shop-canary": "127.0.1.2"}
MIRROR = "httproute/default/shop-canary/rule/0"
REJECTED = "listener 'default/shop/http' config rejected: Unable to create Wasm plugin"
# Without Kubernetes there are no Services: a Backend stands for each.
BACKEND = {"group": "gateway.envoyproxy.io", "kind": "Backend"}
SHOP = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: envoy-gateway }
spec: { controllerName: gateway.envoyproxy.io/gatewayclass-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: shop, namespace: default }
spec:
  gatewayClassName: envoy-gateway
  infrastructure: { parametersRef: { group: gateway.envoyproxy.io, kind: EnvoyProxy, name: traffic-mirror } }
  listeners:
  - { name: http, protocol: HTTP, port: 8888 }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop, namespace: default }
spec:
  parentRefs: [{ name: shop }]
  hostnames: [shop.example.com]
  rules:
  - backendRefs: [{ name: shop, port: 8080 }]
"""


def backend(name, address):
    endpoint = {"ip": {"address": address, "port": 8080}}
    return {"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend",
            "metadata": {"name": name, "namespace": "default"}, "spec": {"endpoints": [endpoint]}}


def fetched_here(certificates):
    """How a proxy that is no Pod gets the module: Envoy Gateway's address, and the certificates that a Pod has in /certs."""
    context = "/transport_socket/typed_config/common_tls_context"
    address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address"
    own = {"certificate_chain": {"filename": f"{certificates}/tls.crt"}, "private_key": {"filename": f"{certificates}/tls.key"}}
    operations = [
        {"op": "replace", "path": address, "value": "127.0.0.1"},
        {"op": "replace", "path": f"{context}/validation_context/trusted_ca/filename", "value": f"{certificates}/ca.crt"},
        {"op": "remove", "path": f"{context}/tls_certificate_sds_secret_configs"},
        {"op": "add", "path": f"{context}/tls_certificates", "value": [own]},
    ]
    cluster = {"type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "wasm_cluster"}
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "shop"}
    return {"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyPatchPolicy",
            "metadata": {"name": "here", "namespace": "default"},
            "spec": {"targetRef": target, "type": "JSONPatch",
                     "jsonPatches": [{**cluster, "operation": operation} for operation in operations]}}


def policy():
    return read("deploy/envoy-gateway/policy.yaml")


class Gateway:
    """Envoy Gateway, and the Envoy that it starts."""

    def __init__(self, folder, stack):
        self.folder, self.log = folder, Log()
        for part in ("resources", "home", "state", "run"):
            (folder / part).mkdir()
        self.version = re.search(r"/(\d+\.\d+\.\d+)/", output([os.environ["ENVOY"], "--version"]))[1]
        binary = folder / "data" / "envoy-versions" / self.version / "bin" / "envoy"
        binary.parent.mkdir(parents=True)
        binary.symlink_to(os.environ["ENVOY"])
        output([BUILT / "envoy-gateway", "certgen", "--local", "--config-home", folder / "home"])
        stack.enter_context(Registry(REGISTRY, ROOT / "dist" / "image").server)
        for name, ip in SERVICES.items():
            stack.enter_context(service(name, (ip, 8080), self.log))

    def apply(self, resources):
        """Writes the resources, with Backends for Services and with this Envoy."""
        resources = documents(SHOP) + resources + [backend(*own) for own in SERVICES.items()]
        resources.append(fetched_here(self.folder / "home" / "certs" / "envoy"))
        for document in resources:
            if document["kind"] == "HTTPRoute":
                (rule,) = document["spec"]["rules"]
                rule["backendRefs"] = [{**BACKEND, "name": rule["backendRefs"][0]["name"]}]
            if document["kind"] == "EnvoyProxy":
                document["spec"]["provider"] = {"type": "Host", "host": {"envoyVersion": self.version}}
        new = self.folder / "new.yaml"
        new.write_text("\n---\n".join(json.dumps(document) for document in resources))
        new.rename(self.folder / "resources" / "all.yaml")

    def start(self, stack):
        folder = self.folder
        host = {"configHome": "home", "dataHome": "data", "stateHome": "state", "runtimeDir": "run"}
        config = {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyGateway",
            "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
            "provider": {"type": "Custom", "custom": {
                "resource": {"type": "File", "file": {"paths": [str(folder / "resources")]}},
                "infrastructure": {"type": "Host", "host": {name: str(folder / part) for name, part in host.items()}}}},
            "extensionApis": {"enableBackend": True, "enableEnvoyPatchPolicy": True},
        }
        (folder / "envoy-gateway.yaml").write_text(json.dumps(config))
        command = [BUILT / "envoy-gateway", "server", "--config-path", folder / "envoy-gateway.yaml"]
        self.process = Process("envoy-gateway", command, folder, {"HOME": str(folder)})
        stack.callback(self.process.stop)

    def admin(self):
        """The port of Envoy's admin endpoint."""
        files = glob.glob(f"{self.folder}/run/*/admin-address.txt")
        check(files, "Envoy has not started")
        return int(pathlib.Path(files[0]).read_text().rpartition(":")[2])

    def get(self, path):
        return fetch(self.admin(), path)[1]


def output(command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def gateway(resources):
    with tempfile.TemporaryDirectory(prefix="traffic-mirror-gateway-") as folder, contextlib.ExitStack() as stack:
        one = Gateway(pathlib.Path(folder), stack)
        one.apply(resources)
        one.start(stack)
        try:
            yield one
        except BaseException:
            print(one.process.text()[-5000:])
            raise


def request(path, host="shop.example.com"):
    return ask(FRONT, path, {"host": host}, source="127.0.0.1")


@scenario.scenario("deploy/envoy-gateway/policy.yaml")
def mirrors():
    with gateway(policy()) as one:
        until(lambda: same(request("/"), (200, "shop"), "a request"))
        until(lambda: check("traffic_mirror" in one.get("/stats/prometheus"), "no plugin"))
        for number in range(MANY):
            same(request(f"/api/cart?n={number}"), (200, "shop"), "a request")

        def attempt():
            metrics = parse_metrics(one.get("/stats/prometheus"))
            same(total(metrics, "requests_total", rule="api"), MANY, "requests")
            sent = total(metrics, "copies_total", outcome="sent", mirror=MIRROR)
            same(sent, len(one.log.of("shop-canary")), "copies")
            check(0 < sent < MANY / 8 and is_idle(metrics), metrics)

        until(attempt)
        same({line.authority for line in one.log.of("shop-canary")}, {"shop.example.com-shadow"}, "authority")
        (cluster,) = [found["cluster"] for found in json.loads(one.get("/config_dump?resource=dynamic_active_clusters"))["configs"]
                      if found["cluster"]["name"] == MIRROR]
        check('"max_connection_duration": "1s"' in json.dumps(cluster), f"connections to the mirror: {cluster}")
    return (f"accepted; the cluster is `{MIRROR}`; some 5 % of the requests below /api/ copied; labels are no part of the names; "
            "connections to the mirror last 1 s")


def wrong(on_invalid):
    """The file, with a field that the plugin does not know."""
    resources = policy()
    (extension,) = [document for document in resources if document["kind"] == "EnvoyExtensionPolicy"]
    config = extension["spec"]["wasm"][0]["config"]
    config["onInvalid"] = on_invalid
    config["rules"][0]["match"][0]["uri"] = {"prefixx": "/api/"}
    return resources


@scenario.scenario("a wrong configuration is the proxy's first, onInvalid: refuse or keepLast")
def wrong_first():
    for on_invalid in ("refuse", "keepLast"):
        with gateway(wrong(on_invalid)) as one:
            until(lambda: check("uri.prefixx" in one.process.text(), "the log does not name the field"))
            until(lambda: same(request("/"), (200, "shop"), "a request"))
            for _ in range(MANY):
                same(request("/api/"), (200, "shop"), "a request")
            same(one.log.of("shop-canary"), [], "copies")
    return "requests pass, no copies; the log names the field"


@scenario.scenario("a wrong configuration later, onInvalid: refuse")
def wrong_later():
    with gateway(policy()) as one:
        until(lambda: same(request("/"), (200, "shop"), "a request"))
        one.apply(wrong("refuse"))
        until(lambda: check(REJECTED in one.process.text(), f"not in the log: {REJECTED}"))
        for _ in range(MANY):
            same(request("/api/"), (200, "shop"), "a request")
        until(lambda: check(one.log.of("shop-canary"), "no copies"))
    return ("the proxy rejects the listener, and the old one goes on; so no other change of this listener comes through until "
            "it is repaired")


@scenario.scenario("a wrong configuration later, onInvalid: keepLast")
def wrong_kept():
    with gateway(policy()) as one:
        until(lambda: same(request("/"), (200, "shop"), "a request"))
        one.apply(wrong("keepLast"))
        until(lambda: check('invalid_configuration{plugin="traffic-mirror"} 1' in one.get("/stats/prometheus"), "the gauge is not 1"))
        before = len(one.log.of("shop-canary"))
        for _ in range(MANY):
            same(request("/api/"), (200, "shop"), "a request")
        same(len(one.log.of("shop-canary")), before, "copies")
        check(REJECTED not in one.process.text(), "the listener is rejected")
        one.apply(policy())
        until(lambda: check('invalid_configuration{plugin="traffic-mirror"} 0' in one.get("/stats/prometheus"), "the gauge is not 0"))
        for _ in range(MANY):
            same(request("/api/"), (200, "shop"), "a request")
        until(lambda: check(len(one.log.of("shop-canary")) > before, "no copies"))
    return ("the proxy accepts the listener, requests pass without copies, and `invalid_configuration` is 1, until the configuration is "
            "repaired: each change has a Wasm VM of its own there, which has no last configuration")


if __name__ == "__main__":
    sys.exit(scenario.main(sys.argv[1:], "docs/platforms/envoy-gateway.md", "envoy-gateway-test"))
