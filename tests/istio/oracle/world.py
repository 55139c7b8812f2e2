"""What is around the routes that are converted: namespaces, Services, and the proxies that istiod renders them for."""

import copy
import dataclasses
import json

import resources

DOMAIN = "svc.cluster.local"
# Services by namespace and name, and the ports that they have. `solo` is the only one of its name.
SERVICES = {
    ("a", "shop"): [80], ("a", "cart"): [80, 8080], ("b", "shop"): [80], ("b", "stock"): [8080], ("b", "solo"): [80],
    ("a", "m1"): [80], ("a", "m2"): [80], ("a", "m3"): [8080], ("b", "m1"): [80], ("b", "m4"): [80],
}
# What of the documents istiod gets by Kubernetes' client, rather than as Istio's resources.
KUBERNETES = ("v1", "gateway.networking.k8s.io")
NAMESPACES = ("a", "b", "istio-system")


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A proxy, and by which labels Gateways of Istio's choose it."""

    name: str
    namespace: str
    address: str
    labels: dict
    service: str = ""

    @property
    def is_gateway(self):
        return bool(self.service)

    def selects(self, document):
        """Whether a Gateway is for this proxy."""
        if document["apiVersion"].startswith("gateway."):
            labels = {"gateway.networking.k8s.io/gateway-name": document["metadata"]["name"]}
            is_near = document["metadata"].get("namespace", "default") == self.namespace
        else:
            labels, is_near = document["spec"].get("selector", {}), True
        return self.is_gateway and is_near and labels.items() <= self.labels.items()


def of_gateway_api(name, namespace, address):
    return Proxy(name, namespace, address, {"gateway.networking.k8s.io/gateway-name": name}, f"{name}-istio")


PROXIES = [
    Proxy("edge", "istio-system", "127.0.1.1", {"istio": "edge"}, "edge"),
    Proxy("inner", "b", "127.0.1.2", {"istio": "inner"}, "inner"),
    of_gateway_api("web", "a", "127.0.1.3"),
    of_gateway_api("web2", "b", "127.0.1.4"),
    Proxy("client-a", "a", "127.0.1.8", {"app": "client-a"}),
    Proxy("client-b", "b", "127.0.1.9", {"app": "client-b"}),
]


def services(documents):
    """The world's Services but for those that documents have themselves, and theirs."""
    own = {key_of(document): document for document in documents if document["kind"] == "Service"}
    found = dict(own)
    for (namespace, name), ports in SERVICES.items():
        spec = {"selector": {"app": name}, "ports": [{"name": f"http-{port}", "port": port} for port in ports]}
        metadata = {"name": name, "namespace": namespace}
        found.setdefault((namespace, name), {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    return list(found.values())


def key_of(document):
    return document["metadata"].get("namespace", "default"), document["metadata"]["name"]


def namespaces(documents):
    own = {document["metadata"]["name"] for document in documents if document["kind"] == "Namespace"}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}
            for name in NAMESPACES if name not in own]


def is_istio(document):
    return ".istio.io/" in document["apiVersion"]


def filled(document):
    """An object of the Gateway API with what the API server fills in, without which istiod crashes."""
    document = copy.deepcopy(document)
    spec = document.get("spec", {})
    for parent in spec.get("parentRefs", []):
        parent.update({"group": "gateway.networking.k8s.io", "kind": "Gateway", **parent})
    for listener in spec.get("listeners", []):
        allowed = listener.setdefault("allowedRoutes", {})
        allowed.setdefault("namespaces", {}).setdefault("from", "Same")
    for rule in spec.get("rules", []):
        if document["kind"] == "HTTPRoute":
            rule["matches"] = [{"path": {}, **match} for match in rule.get("matches") or [{}]]
        for match in rule.get("matches", []):
            if "path" in match:
                match["path"] = {"type": "PathPrefix", "value": "/", **match["path"]}
            if "method" in match and document["kind"] == "GRPCRoute":
                match["method"].setdefault("type", "Exact")
            for test in match.get("headers", []) + match.get("queryParams", []):
                test.setdefault("type", "Exact")
        backends = rule.get("backendRefs", [])
        for mirror in (one["requestMirror"] for one in rule.get("filters", []) if "requestMirror" in one):
            mirror["backendRef"].update({"group": "", "kind": "Service", **mirror["backendRef"]})
            if "fraction" in mirror:
                mirror["fraction"].setdefault("denominator", 100)
        for backend in backends:
            backend.update({"group": "", "kind": "Service", "weight": 1, **backend})
    return document


def wanted_of_istiod(documents):
    """What istiod gets of a set of documents, in a line of JSON."""
    kubernetes = [document for document in documents if document["apiVersion"].partition("/")[0] in KUBERNETES]
    objects, pods = [filled(document) for document in kubernetes if document["kind"] != "Service"], []
    own = services(documents)
    for proxy in filter(lambda proxy: proxy.is_gateway, PROXIES):
        pods.append(resources.Pod(proxy.name, proxy.namespace, proxy.labels, proxy.address, {"name": "proxy", "image": "auto"}, []))
        service = resources.kubernetes_service(proxy.service, proxy.namespace, proxy.labels, 80)
        service["spec"]["ports"].append({"name": "http2", "port": 8080, "targetPort": 8080})
        own.append(service)
    own = [service if service["spec"].get("type") == "ExternalName" else resources.cluster_service(*numbered)
           for numbered in enumerate(own, 1) for service in numbered[1:]]
    slices = [resources.endpoint_slice(service, pods) for service in own if service["spec"].get("selector")]
    objects += namespaces(documents) + own + [pod.object() for pod in pods] + slices
    return json.dumps({
        "Objects": "\n---\n".join(json.dumps(one) for one in objects),
        "Resources": [document for document in documents if is_istio(document)],
        "Proxies": [{"Name": proxy.name, "Namespace": proxy.namespace, "Address": proxy.address, "Gateway": proxy.is_gateway,
                     "Labels": proxy.labels} for proxy in PROXIES],
    })
