"""A waypoint of ambient mode with the plugin. Requests come to it as a ztunnel sends them: through a CONNECT over mutual TLS."""

import contextlib
import copy
import json
import os
import socket

from checks import check, same, until
from deployed import BOOKINFO, copies
from envoy import is_idle, total
from mesh import CREDENTIALS, Process
from resources import GATEWAY_IMAGE, IMAGE, deployment, documents, kubernetes_service
from scenario import mesh, scenario
from services import ask
from tls import certificate

LABELS = {"gateway.networking.k8s.io/gateway-name": "waypoint"}
WAYPOINT = [
    *documents("""
apiVersion: v1
kind: Namespace
metadata: { name: test, labels: { istio.io/use-waypoint: waypoint, istio.io/dataplane-mode: ambient } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: test, labels: { istio.io/waypoint-for: service } }
spec:
  gatewayClassName: istio-waypoint
  listeners:
  - { name: mesh, port: 15008, protocol: HBONE }
# As istiod writes it, once the waypoint's Service is there.
status:
  addresses: [{ type: Hostname, value: waypoint.test.svc.cluster.local }]
  conditions: [{ type: Programmed, status: "True", reason: Programmed, message: "", lastTransitionTime: "2026-01-01T00:00:00Z" }]
"""),
    deployment("waypoint", "test", LABELS, 15008, GATEWAY_IMAGE),
    kubernetes_service("waypoint", "test", LABELS, 15008),
]
# Istio's own build of Envoy has filters for telemetry that the plain one lacks, and knows more of what `connect_authority` keeps.
PLAIN_ENVOY = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: { name: plain-envoy, namespace: test }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: waypoint }]
"""
ORIGINAL_DESTINATION = """
name: connect_authority
typed_config:
  "@type": type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config
  on_request_headers:
  - object_key: envoy.filters.listener.original_dst.local_ip
    format_string: { text_format_source: { inline_string: "%REQ(:AUTHORITY)%" } }
    shared_with_upstream: ONCE
"""


def patch(filter, operation, value=None):
    chain = {"filter": {"name": "envoy.filters.network.http_connection_manager", "subFilter": {"name": filter}}}
    return {"applyTo": "HTTP_FILTER", "match": {"context": "SIDECAR_INBOUND", "listener": {"filterChain": chain}},
            "patch": {"operation": operation, **({"value": value} if value else {})}}


def plain_envoy():
    (document,) = documents(PLAIN_ENVOY)
    (connect,) = documents(ORIGINAL_DESTINATION)
    document["spec"]["configPatches"] = [
        patch("waypoint_downstream_peer_metadata", "REMOVE"),
        patch("waypoint_upstream_peer_metadata", "REMOVE"),
        patch("connect_authority", "REPLACE", connect),
    ]
    return document


DESTINATION = {"host": "mirror.test.svc.cluster.local", "port": {"number": 9080}}
CLUSTER = "inbound-vip|9080|http|mirror.test.svc.cluster.local"
# The same, but that the mirror's Service does not use the waypoint.
BOOKINFO_WITHOUT = copy.deepcopy(BOOKINFO)
BOOKINFO_WITHOUT[-1]["metadata"]["labels"] = {"istio.io/use-waypoint": "none"}
ZTUNNEL = ("127.0.3.1", 8080)


def plugin(mirror):
    (document,) = documents("""
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: { name: traffic-mirror, namespace: test }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: waypoint }]
  type: HTTP
  phase: STATS
  failStrategy: FAIL_OPEN
  pluginConfig:
    rules:
    - name: first
      match: [{ authority: { exact: "reviews:9080" } }]
""")
    document["spec"]["url"] = IMAGE
    document["spec"]["pluginConfig"]["rules"][0]["mirrors"] = [mirror]
    return document


def ztunnel(one, certificates, to):
    """An Envoy that sends what it gets to a Service's address, through the waypoint."""
    service, port = to
    tls = {"certificate_chain": {"filename": f"{certificates}/cert-chain.pem"},
           "private_key": {"filename": f"{certificates}/key.pem"}}
    config = {
        "static_resources": {
            "listeners": [{
                "name": "in", "address": socket_address(*ZTUNNEL),
                "filter_chains": [{"filters": [typed("tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy", {
                    "stat_prefix": "in", "cluster": "waypoint", "tunneling_config": {"hostname": f"{service}:{port}"}})]}],
            }],
            "clusters": [{
                "name": "waypoint", "type": "STATIC",
                "load_assignment": {"cluster_name": "waypoint", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": socket_address(one.pod("waypoint").ip, 15008)}}]}]},
                "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {"allow_connect": True}}}},
                "transport_socket": typed("envoy.transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext", {
                    "common_tls_context": {"alpn_protocols": ["h2"], "tls_certificates": [tls], "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}}}),
            }],
        },
    }
    file = one.folder / "ztunnel.json"
    file.write_text(json.dumps(config))
    return Process("ztunnel", [os.environ["ENVOY"], "-c", file, "--disable-hot-restart", "--log-level", "warning"], one.folder, {})


def socket_address(ip, port):
    return {"socket_address": {"address": ip, "port_value": port}}


def typed(name, kind, config):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **config}}


@contextlib.contextmanager
def waypoint(mirror, resources):
    """A waypoint with the plugin, and what sends requests to reviews through it."""
    features = {"PILOT_ENABLE_AMBIENT": "true"}
    with mesh(resources + WAYPOINT + [plain_envoy(), plugin(mirror)], features=features) as one:
        certificates = one.folder / "waypoint" / CREDENTIALS
        certificate(certificates)
        with one.proxy("waypoint", "waypoint", env={"FILE_MOUNTED_CERTS": "false"}, folder="waypoint") as proxy:
            process = ztunnel(one, certificates, one.address("reviews:9080"))
            one.processes.append(process)
            try:
                yield one, proxy
            finally:
                process.stop()


def ask_twice(mirror, outcome, resources=None):
    """Sends two requests through the waypoint; returns the authorities of the copies that the mirror got."""
    with waypoint(mirror, resources or BOOKINFO) as (one, proxy):
        until(lambda: socket.create_connection(ZTUNNEL).close())
        for _ in range(2):
            status, body = ask(ZTUNNEL, "/", {"host": "reviews:9080"}, source="127.0.0.1")
            check(status == 200 and body.startswith("reviews"), f"a request: {status} {body}")

        def attempt():
            metrics = proxy.metrics()
            same(total(metrics, "copies_total", outcome=outcome), 2, f"copies, in {metrics}")
            check(is_idle(metrics), f"copies without a response: {metrics}")

        until(attempt)
        return [line.authority for line in copies(one, "mirror")]


@scenario("ambient: a waypoint, `targetRefs` with its Gateway; requests come by mutual TLS as from a ztunnel")
def ambient():
    same(ask_twice({"destination": DESTINATION}, "no_cluster"), [], "copies by `destination`")
    same(ask_twice({"cluster": CLUSTER}, "sent"), ["reviews-shadow:9080"] * 2, "copies by `cluster`")
    same(ask_twice({"cluster": CLUSTER}, "no_cluster", BOOKINFO_WITHOUT), [], "copies for a mirror that does not use the waypoint")
    return (f"`destination` gives `no_cluster`; with `cluster: {CLUSTER}` copies are sent; a mirror that does not use this "
            "waypoint gives `no_cluster`").replace("|", "\\|")
