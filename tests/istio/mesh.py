"""A mesh on loopback addresses: istiod, the Pods of a file of resources, and a proxy beside one of them.

Pods get addresses from 127.0.1.1 on, Services from 127.96.0.1 on. Requests from `CALLER` pass the proxy, in REDIRECT mode as
in a cluster; all others reach the Pods themselves.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from checks import Ended, check, same, until
from envoy import ROOT, fetch, parse_metrics
from resources import GATEWAY_IMAGE, REGISTRY, cluster_service, documents, endpoint_slice, of_kind, pod
from services import CALLER, Log, Registry, ask, program, service
from tls import certificate, secured

BUILT = ROOT / ".tools" / "istio"
XDS, ISTIOD, ADMIN, MERGED, READY = 15010, 15014, 15000, 15020, 15021
# What of the logs a failure shows.
WARNING, NOISE = re.compile(r"\t(warn|warning|error|critical)\t"), re.compile(r"is NOT ready|expected to have a v\S+ annotation")
# Where the agent looks for a workload's certificate.
CREDENTIALS = "var/run/secrets/workload-spiffe-credentials"
# Where the agent keeps its modules.
AGENT_DATA = pathlib.Path("/var/lib/istio/data")
# The plain Envoy has neither of the two filters that Istio's own build adds.
FEATURES = {"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}
AUTHENTICATION = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{ name: default, namespace: istio-system }}
spec: {{ mtls: {{ mode: {} }} }}
"""


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

    def __init__(self, folder, resources, mesh_config, features, has_tls):
        self.folder, self.stack, self.log = folder, contextlib.ExitStack(), Log()
        self.processes = []
        self.has_tls, self.certificates = has_tls, folder / "certificates"
        self.mesh_config = {"enableAutoMtls": has_tls, **mesh_config}
        self.pods = [pod(*numbered) for numbered in enumerate(of_kind(resources, "Deployment"), 1)]
        self.services = [cluster_service(*numbered) for numbered in enumerate(of_kind(resources, "Service"), 1)]
        self.config_maps = {document["metadata"]["name"]: document for document in of_kind(resources, "ConfigMap")}
        self.objects = [document for document in resources
                        if document["kind"] == "Namespace" or document["apiVersion"].startswith("gateway.networking.k8s.io")]
        self.resources = [document for document in resources if ".istio.io/" in document["apiVersion"]]
        self.features = {**FEATURES, **features}
        if has_tls:
            certificate(self.certificates)
            for own in self.pods:
                own.labels = {**own.labels, "security.istio.io/tlsMode": "istio"}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.registry = Registry(REGISTRY, ROOT / "dist" / "image")
            self.registry.add_layout(ROOT / "dist" / "image-compare")
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
                server = service(pod.name, (pod.ip, port), self.log)
                stack.enter_context(secured(server, self.certificates) if self.has_tls else server)

    def start_istiod(self, stack):
        objects = [pod.object() for pod in self.pods] + self.services
        objects += [endpoint_slice(own, self.pods) for own in self.services] + self.objects
        (self.folder / "objects.yaml").write_text("\n---\n".join(json.dumps(object) for object in objects))
        (self.folder / "mesh.yaml").write_text(json.dumps(self.mesh_config))
        (self.folder / "resources").mkdir()
        for document in [*documents(AUTHENTICATION.format("STRICT" if self.has_tls else "DISABLE")), *self.resources]:
            self.write(document)
        self.istiod = Process("istiod", [BUILT / "control-plane"], self.folder, self.features)
        self.processes.append(self.istiod)
        stack.callback(self.istiod.stop)
        self.istiod.until_ok(ISTIOD, "/metrics")

    def show_logs(self):
        for process in self.processes:
            lines = [line for line in process.text().splitlines() if WARNING.search(line) and not NOISE.search(line)]
            print(f"---- the last warnings in {process.name}'s log", *lines[-15:], sep="\n")

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
        if self.has_tls:
            shutil.copytree(self.certificates, folder / CREDENTIALS)
            env = {"FILE_MOUNTED_CERTS": "false", **(env or {})}
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
