"""The resources that a mesh is made of, as the repository's files have them or as short as a test can say them, and what an API
server would make of them."""

import copy
import dataclasses

import yaml

from envoy import ROOT

REGISTRY = ("127.0.0.1", 5000)
# The image of a Pod that is nothing but a proxy, as Istio injects it.
GATEWAY_IMAGE = "auto"


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def local(text):
    """The resources of a text, with the image's address here."""
    return documents(text.replace("registry.example.com/", f"{REGISTRY[0]}:{REGISTRY[1]}/"))


def read(path):
    """The resources of one of the repository's files."""
    return local((ROOT / path).read_text())


# The image that `make image` builds, in the registry of a mesh.
IMAGE = read("wasmplugin.yaml")[0]["spec"]["url"]


def tagged(tag):
    """The address of the image under another tag."""
    return f"{IMAGE.rpartition(':')[0]}:{tag}"


def deployment(name, namespace, labels, port, image="none"):
    """A workload, as short as a test can say it."""
    container = {"name": name, "image": image, "ports": [{"containerPort": port}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}}


def kubernetes_service(name, namespace, selector, port, target=None):
    spec = {"selector": selector, "ports": [{"name": "http", "port": port, "targetPort": target or port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def gateway(namespace, port, labels=None):
    """What Istio's chart installs: the Pod of a gateway, which listens on this port, and its Service."""
    labels = labels or {"istio": "ingressgateway"}
    return [
        deployment("gateway", namespace, labels, port, GATEWAY_IMAGE),
        kubernetes_service("gateway", namespace, labels, 80, port),
    ]


def of_kind(resources, kind):
    return [document for document in resources if document["kind"] == kind and "istio.io" not in document["apiVersion"]]


# ---- what an API server would make of the resources

@dataclasses.dataclass
class Pod:
    """A Pod, where its port is served."""

    name: str
    namespace: str
    labels: dict
    ip: str
    container: dict
    volumes: list

    @property
    def ports(self):
        return [port["containerPort"] for port in self.container.get("ports", [])]

    def object(self):
        ready = {"phase": "Running", "podIP": self.ip, "podIPs": [{"ip": self.ip}],
                 "conditions": [{"type": "Ready", "status": "True"}]}
        metadata = {"name": self.name, "namespace": self.namespace, "labels": self.labels}
        container = {name: self.container[name] for name in ("name", "image")}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": ready,
                "spec": {"serviceAccountName": "default", "containers": [container]}}

    def has(self, namespace, selector):
        return self.namespace == namespace and selector.items() <= self.labels.items()


def pod(number, document):
    metadata, template = document["metadata"], document["spec"]["template"]
    spec = template["spec"]
    return Pod(metadata["name"], metadata["namespace"], template["metadata"]["labels"], f"127.0.1.{number}",
               spec["containers"][0], spec.get("volumes", []))


def cluster_service(number, document):
    """The Service with what the API server fills in."""
    filled = copy.deepcopy(document)
    filled["spec"]["clusterIP"] = f"127.96.0.{number}"
    filled["spec"]["clusterIPs"] = [filled["spec"]["clusterIP"]]
    for port in filled["spec"]["ports"]:
        port.setdefault("targetPort", port["port"])
        port["protocol"] = "TCP"
    return filled


def endpoint_slice(own, pods):
    """The endpoints of a Service."""
    name, namespace = own["metadata"]["name"], own["metadata"]["namespace"]
    endpoints = [
        {"addresses": [pod.ip], "conditions": {"ready": True},
         "targetRef": {"kind": "Pod", "name": pod.name, "namespace": pod.namespace}}
        for pod in pods if pod.has(namespace, own["spec"]["selector"])
    ]
    ports = [{"name": port["name"], "port": port["targetPort"], "protocol": "TCP"} for port in own["spec"]["ports"]]
    metadata = {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name}}
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": endpoints, "ports": ports}
