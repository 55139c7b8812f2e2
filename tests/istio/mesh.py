"""A mesh on loopback addresses: istiod, the Pods of a file of resources, and a proxy beside one of them.

Pods get addresses from 127.0.1.1 on, Services from 127.96.0.1 on. Requests from `CALLER` pass the proxy, in REDIRECT mode as
in a cluster; all others reach the Pods themselves.
"""

import contextlib
import copy
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import yaml

from checks import Ended, check, same, until
from envoy import ROOT, fetch, parse_metrics
from services import CALLER, Log, Registry, ask, program, service

BUILT = ROOT / ".tools" / "istio"
REGISTRY = ("127.0.0.1", 5000)
XDS, ISTIOD, ADMIN, MERGED, READY = 15010, 15014, 15000, 15020, 15021
# Where the agent keeps its modules.
AGENT_DATA = pathlib.Path("/var/lib/istio/data")
# The image of a Pod that is nothing but a proxy, as Istio injects it.
GATEWAY_IMAGE = "auto"
# The plain Envoy has neither of the two filters that Istio's own build adds.
FEATURES = {"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}
# There is no certificate authority.
PLAIN = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: DISABLE } }
"""


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def local(text):
    """The resources of a text, with the image's address here."""
    return documents(text.replace("registry.example.com/", f"{REGISTRY[0]}:{REGISTRY[1]}/"))


def read(path):
    """The resources of one of the repository's files."""
    return local((ROOT / path).read_text())


def deployment(name, namespace, labels, port, image="none"):
    """A workload, as short as a test can say it."""
    container = {"name": name, "image": image, "ports": [{"containerPort": port}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}}


def kubernetes_service(name, namespace, selector, port, target=None):
    spec = {"selector": selector, "ports": [{"name": "http", "port": port, "targetPort": target or port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


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
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": ready,
                "spec": {"containers": [{"name": self.container["name"], "image": self.container["image"]}]}}

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


# ---- processes

class Process:
    """A process that is ended with all that it has started; its output is in a file."""

    def __init__(self, name, command, folder, env):
        self.name, self.log = name, folder / f"{name}.log"
        with open(self.log, "w") as out:
            self.process = subprocess.Popen([str(word) for word in command], cwd=folder, env={**os.environ, **env}, stdout=out,
                                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)

    def text(self):
        return self.log.read_text(errors="replace")

    def until_ok(self, port, path):
        """Waits until it responds there with 200."""
        def attempt():
            if self.process.poll() is not None:
                raise Ended(f"{self.name} ended with {self.process.returncode}")
            same(fetch(port, path)[0], 200, f"{self.name}, {path}")

        until(attempt)

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


# ---- the mesh

class Mesh:
    """istiod, the Pods' services, and the registry."""

    def __init__(self, folder, resources, mesh_config, features):
        self.folder, self.stack, self.log = folder, contextlib.ExitStack(), Log()
        self.processes = []
        self.mesh_config = {"enableAutoMtls": False, **mesh_config}
        self.pods = [pod(*numbered) for numbered in enumerate(of_kind(resources, "Deployment"), 1)]
        self.services = [cluster_service(*numbered) for numbered in enumerate(of_kind(resources, "Service"), 1)]
        self.config_maps = {document["metadata"]["name"]: document for document in of_kind(resources, "ConfigMap")}
        self.objects = [document for document in resources
                        if document["kind"] == "Namespace" or document["apiVersion"].startswith("gateway.networking.k8s.io")]
        self.resources = [document for document in resources if ".istio.io/" in document["apiVersion"]]
        self.features = {**FEATURES, **features}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.registry = Registry(REGISTRY, ROOT / "dist" / "image")
            stack.enter_context(self.registry.server)
            for pod in self.pods:
                self.serve(pod, stack)
            self.start_istiod(stack)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def serve(self, pod, stack):
        """The containers' servers: what a ConfigMap has as a program runs as it is, but for its address."""
        command = pod.container.get("command", [])
        for port in pod.ports:
            if command[:1] == ["python3"]:
                (name,) = [volume["configMap"]["name"] for volume in pod.volumes]
                source = self.config_maps[name]["data"][pathlib.Path(command[1]).name]
                file = self.folder / f"{pod.name}.py"
                file.write_text(source.replace(f'("", {port})', f'("{pod.ip}", {port})'))
                stack.enter_context(program(pod.name, [sys.executable, file, *command[2:]], (pod.ip, port), self.log))
            elif pod.container["image"] != GATEWAY_IMAGE:
                stack.enter_context(service(pod.name, (pod.ip, port), self.log))

    def start_istiod(self, stack):
        objects = [pod.object() for pod in self.pods] + self.services
        objects += [endpoint_slice(own, self.pods) for own in self.services] + self.objects
        (self.folder / "objects.yaml").write_text("\n---\n".join(json.dumps(object) for object in objects))
        (self.folder / "mesh.yaml").write_text(json.dumps(self.mesh_config))
        (self.folder / "resources").mkdir()
        for document in [*documents(PLAIN), *self.resources]:
            self.write(document)
        self.istiod = Process("istiod", [BUILT / "control-plane"], self.folder, self.features)
        self.processes.append(self.istiod)
        stack.callback(self.istiod.stop)
        self.istiod.until_ok(ISTIOD, "/metrics")

    def show_logs(self):
        for process in self.processes:
            lines = [line for line in process.text().splitlines() if "\tinfo\t" not in line and "is NOT ready" not in line]
            print(f"---- the last lines of {process.name}'s log", *lines[-15:], sep="\n")

    # ---- resources

    def file(self, kind, namespace, name):
        return self.folder / "resources" / f"{kind}.{namespace}.{name}.yaml"

    def write(self, document):
        metadata = document["metadata"]
        self.file(document["kind"], metadata["namespace"], metadata["name"]).write_text(json.dumps(document))

    def apply(self, *changed):
        """As `kubectl apply` of Istio's resources."""
        for document in changed:
            self.write(document)
        self.push()

    def delete(self, document):
        self.file(document["kind"], document["metadata"]["namespace"], document["metadata"]["name"]).unlink()
        self.push()

    def push(self):
        status, why = fetch(ISTIOD, "/apply", method="POST")
        check(status == 200, f"istiod refuses it: {why}")

    # ---- the proxy

    def pod(self, name):
        return next(pod for pod in self.pods if pod.name == name)

    def address(self, authority):
        """Where a name of a Service leads, as DNS would say, and the port of the authority."""
        host, _, port = authority.partition(":")
        name, _, rest = host.partition(".")
        own = [one for one in self.services if one["metadata"]["name"] == name]
        (own,) = [one for one in own if not rest or rest.split(".")[0] == one["metadata"]["namespace"]]
        return own["spec"]["clusterIP"], int(port or 80)

    @contextlib.contextmanager
    def proxy(self, name, kind="sidecar", annotations=None, env=None, folder=None):
        """The agent and Envoy beside the Pod of this name."""
        pod = self.pod(name)
        folder = self.folder / (folder or f"proxy-{len(self.processes)}")
        for part in ("etc/istio/config", "etc/istio/pod", "etc/istio/proxy"):
            (folder / part).mkdir(parents=True)
        # What istiod's ConfigMap has; gateways mount it, sidecars get the same by injection.
        (folder / "etc/istio/config/mesh").write_text(json.dumps(self.mesh_config))
        lines = [f"{name}={json.dumps(value)}" for name, value in (annotations or {}).items()]
        (folder / "etc/istio/pod/annotations").write_text("\n".join(lines))
        shutil.rmtree(AGENT_DATA, ignore_errors=True)
        AGENT_DATA.mkdir(parents=True)
        with redirected(pod):
            agent = Process("proxy", [BUILT / "pilot-agent", "proxy", kind, "--proxyLogLevel", "warning"], folder,
                            agent_env(pod) | (env or {}))
            self.processes.append(agent)
            try:
                agent.until_ok(READY, "/healthz/ready")
                yield Proxy(self, agent)
            finally:
                agent.stop()


class Proxy:
    """An agent and its Envoy."""

    def __init__(self, mesh, process):
        self.mesh, self.process = mesh, process

    def ask(self, authority, path, headers=None, address=None, **request):
        address = address or self.mesh.address(authority)
        return ask(address, path, {"host": authority, **(headers or {})}, **request)

    def metrics(self):
        """The plugin's counters that are not 0, as Prometheus gets them from the agent."""
        metrics = parse_metrics(fetch(MERGED, "/stats/prometheus", {"accept": "*/*"})[1])
        return {name: value for name, value in metrics.items() if value or name.endswith("{}")}

    def text(self):
        return self.process.text()

    def dump(self, resource):
        """What Envoy has, by the admin endpoint."""
        return json.loads(fetch(ADMIN, f"/config_dump?resource={resource}")[1])["configs"]

    def clusters(self):
        _, text = fetch(ADMIN, "/clusters")
        return sorted(set(re.findall(r"^(.*?)::", text, re.MULTILINE)))


def of_kind(resources, kind):
    return [document for document in resources if document["kind"] == kind and "istio.io" not in document["apiVersion"]]


def agent_env(pod):
    config = {
        "binaryPath": os.environ["ENVOY"],
        "discoveryAddress": f"127.0.0.1:{XDS}",
        "controlPlaneAuthPolicy": "NONE",
        "statusPort": MERGED,
        "concurrency": 2,
    }
    return {
        "PROXY_CONFIG": json.dumps(config),
        "POD_NAME": pod.name,
        "POD_NAMESPACE": pod.namespace,
        "INSTANCE_IP": pod.ip,
        "ISTIO_METAJSON_LABELS": json.dumps(pod.labels),
        "ISTIO_META_CLUSTER_ID": "Kubernetes",
        "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_BOOTSTRAP": str(BUILT / "envoy_bootstrap.json"),
        "WASM_INSECURE_REGISTRIES": "{}:{}".format(*REGISTRY),
        # There is no certificate authority, and no token for it.
        "JWT_POLICY": "none",
        "PILOT_CERT_PROVIDER": "none",
        "FILE_MOUNTED_CERTS": "true",
        "XDS_ROOT_CA": "SYSTEM",
        "CA_ROOT_CA": "SYSTEM",
        "CA_ADDR": "127.0.0.1:1",
        "GRPC_XDS_BOOTSTRAP": "",
    }


@contextlib.contextmanager
def redirected(pod):
    """What istio-init's rules do, for the caller's address instead of a user's number."""
    rules = f"""
    table ip mesh {{
      chain output {{
        type nat hook output priority -100;
        ip saddr {CALLER} ip daddr {pod.ip} meta l4proto tcp redirect to :15006
        ip saddr {CALLER} ip daddr 127.96.0.0/16 meta l4proto tcp redirect to :15001
      }}
    }}"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "ip", "mesh"], check=True)
