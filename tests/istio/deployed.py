"""wasmplugin.yaml and each file of deploy/istio, as it is, in the proxy that it is for."""

import json

from checks import check, same, until
from envoy import is_idle, total
from examples import FRONT
from resources import deployment, documents, gateway, kubernetes_service, read
from scenario import mesh, scenario

BOOKINFO = [
    deployment("productpage", "test", {"app": "productpage"}, 9080),
    deployment("reviews-v1", "test", {"app": "reviews", "version": "v1"}, 9080),
    deployment("reviews-v2", "test", {"app": "reviews", "version": "v2"}, 9080),
    deployment("details", "test", {"app": "details"}, 9080),
    deployment("mirror", "test", {"app": "mirror"}, 9080),
    *(kubernetes_service(app, "test", {"app": app}, 9080) for app in ("productpage", "reviews", "details", "mirror")),
]
SUBSETS = documents("""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews, namespace: test }
spec:
  host: reviews
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
""")
SHOP = [
    *(deployment(name, "prod", {"app": name}, 8080) for name in ("shop", "shop-canary")),
    *(kubernetes_service(name, "prod", {"app": name}, 8080) for name in ("shop", "shop-canary")),
]
SHOP_GATEWAY = documents("""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: shop-gateway, namespace: prod }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 80, name: http, protocol: HTTP }
    hosts: [shop.example.com]
""")
SHOP_ROUTE = documents("""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: prod }
spec:
  gateways: [shop-gateway]
  hosts: [shop.example.com]
  http:
  - route:
    - destination: { host: shop.prod.svc.cluster.local, port: { number: 8080 } }
""")
SHOP_GATEWAY_API = documents("""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: shop, namespace: prod }
spec:
  gatewayClassName: istio
  listeners:
  - { name: http, port: 80, protocol: HTTP }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop, namespace: prod }
spec:
  parentRefs:
  - { name: shop }
  hostnames: [shop.example.com]
  rules:
  - backendRefs:
    - { name: shop, port: 8080 }
""")
# Of so many, 5 % are at least one, but for one run in a billion.
MANY = 400


def send(proxy, count, authority, path, service, headers=None, address=None):
    """Sends requests, each of which this service answers."""
    for number in range(count):
        response = proxy.ask(authority, f"{path}?n={number}", headers, address)
        same(response, (200, service), f"{authority}{path}")


def copies(one, service):
    """What a service got that has the marker."""
    return [line for line in one.log.of(service) if line.marker == "true"]


def settled(one, proxy, requests, mirror, outcome="sent"):
    """Waits until this many requests matched, each has an outcome, and the mirror got as many copies as are counted. Returns how
    many copies had the outcome, which are some."""
    def attempt():
        metrics = proxy.metrics()
        same(total(metrics, "requests_total"), requests, f"requests, in {metrics}")
        same(total(metrics, "copies_total"), requests, f"outcomes, in {metrics}")
        same(total(metrics, "copies_total", outcome="sent"), len(copies(one, mirror)), f"copies, in {metrics}")
        check(is_idle(metrics), f"copies without a response: {metrics}")
        had = total(metrics, "copies_total", outcome=outcome)
        check(had > 0, f"no outcome {outcome}: {metrics}")
        return had

    return until(attempt)


def authorities(one, service):
    return {line.authority for line in copies(one, service)}


@scenario("deploy/istio/inbound.yaml")
def inbound():
    with mesh(BOOKINFO + SUBSETS + read("deploy/istio/inbound.yaml")) as one, one.proxy("reviews-v1") as proxy:
        send(proxy, 5, "reviews:9080", "/", "reviews-v1", address=(one.pod("reviews-v1").ip, 9080))
        same(settled(one, proxy, 5, "reviews-v2"), 5, "copies")
        same(authorities(one, "reviews-v2"), {"reviews-shadow:9080"}, "authority")
    return "5 requests received, 5 copies at the subset v2"


@scenario("deploy/istio/outbound.yaml")
def outbound():
    with mesh(BOOKINFO + read("deploy/istio/outbound.yaml")) as one, one.proxy("productpage") as proxy:
        for number in range(MANY):
            proxy.ask("reviews:9080", f"/?n={number}")
        send(proxy, 5, "details:9080", "/", "details")
        sent = settled(one, proxy, MANY, "mirror")
        check(sent < MANY / 4, f"{sent} of {MANY} copied")
    return "some 10 % of the requests for reviews copied, none of those for details"


for file, kind in {"wasmplugin.yaml": "WasmPlugin", "deploy/istio/trafficextension.yaml": "TrafficExtension"}.items():
    @scenario(f"{file}, a {kind}")
    def received(file=file):
        with mesh(BOOKINFO + read(file)) as one, one.proxy("reviews-v1") as proxy:
            to = {"address": (one.pod("reviews-v1").ip, 9080)}
            send(proxy, 3, "reviews:9080", "/", "reviews-v1", {"end-user": "tester"}, **to)
            send(proxy, 3, "reviews:9080", "/", "reviews-v1", {"end-user": "jason"}, **to)
            same(settled(one, proxy, 3, "mirror"), 3, "copies")
        return "3 requests of the user copied, 3 of another not"


@scenario("deploy/istio/gateway.yaml")
def ingress_gateway():
    resources = SHOP + SHOP_GATEWAY + SHOP_ROUTE + read("deploy/istio/gateway.yaml") + gateway("istio-system", FRONT[1])
    with mesh(resources) as one, one.proxy("gateway", "router") as proxy:
        send(proxy, MANY, "shop.example.com", "/api/cart", "shop", address=FRONT)
        send(proxy, 5, "shop.example.com", "/", "shop", address=FRONT)
        check(settled(one, proxy, MANY, "shop-canary") < MANY / 8, "more than 12 % copied")
        same(authorities(one, "shop-canary"), {"shop.example.com-shadow"}, "authority")
    return "some 5 % of the requests below /api/ copied, none of the others"


@scenario("deploy/istio/gateway-api.yaml, targetRefs")
def gateway_api():
    labels = {"gateway.networking.k8s.io/gateway-name": "shop"}
    pod, service = gateway("prod", 80, labels)
    pod["metadata"]["name"] = service["metadata"]["name"] = "shop-istio"
    resources = SHOP + SHOP_GATEWAY_API + read("deploy/istio/gateway-api.yaml") + [pod, service]
    with mesh(resources) as one, one.proxy("shop-istio", "router") as proxy:
        send(proxy, MANY, "shop.example.com", "/", "shop", address=("127.0.0.1", 80))
        check(settled(one, proxy, MANY, "shop-canary") < MANY / 8, "more than 12 % copied")
    return "some 5 % of the requests copied, at an HTTPRoute's Gateway"


@scenario("deploy/istio/gateway-clusters.yaml, istiod with PILOT_FILTER_GATEWAY_CLUSTER_CONFIG")
def gateway_clusters():
    resources = SHOP + SHOP_GATEWAY + SHOP_ROUTE + read("deploy/istio/gateway.yaml") + gateway("istio-system", FRONT[1])
    features = {"PILOT_FILTER_GATEWAY_CLUSTER_CONFIG": "true"}
    with mesh(resources, features=features) as one, one.proxy("gateway", "router") as proxy:
        send(proxy, MANY, "shop.example.com", "/api/cart", "shop", address=FRONT)
        settled(one, proxy, MANY, "shop-canary", outcome="no_cluster")
        same(copies(one, "shop-canary"), [], "copies")
        one.apply(*read("deploy/istio/gateway-clusters.yaml"))
        until(lambda: check(any("shop-canary" in name for name in proxy.clusters()), "no cluster shop-canary"))
        send(proxy, MANY, "shop.example.com", "/api/cart", "shop", address=FRONT)
        settled(one, proxy, 2 * MANY, "shop-canary")
    return "`no_cluster` without it; with it copies are sent, and no response comes from the mirror"


@scenario("deploy/istio/sidecar.yaml")
def sidecar():
    (file,) = read("deploy/istio/sidecar.yaml")
    hosts = file["spec"]["egress"][0]["hosts"]
    hidden = {**file, "spec": {**file["spec"], "egress": [{"hosts": [host for host in hosts if "mirror" not in host]}]}}
    with mesh(BOOKINFO + [hidden] + read("deploy/istio/outbound.yaml")) as one, one.proxy("productpage") as proxy:
        for number in range(MANY):
            proxy.ask("reviews:9080", f"/?n={number}")
        settled(one, proxy, MANY, "mirror", outcome="no_cluster")
        one.apply(file)
        until(lambda: check(any("mirror" in name for name in proxy.clusters()), "no cluster of the mirror"))
        for number in range(MANY):
            proxy.ask("reviews:9080", f"/?n={number}")
        settled(one, proxy, 2 * MANY, "mirror")
    return "`no_cluster` while a Sidecar resource does not name the mirror; with this file copies are sent"


@scenario("deploy/istio/destinationrule.yaml")
def destination_rule():
    resources = BOOKINFO + read("deploy/istio/outbound.yaml") + read("deploy/istio/destinationrule.yaml")
    with mesh(resources) as one, one.proxy("productpage") as proxy:
        (mirror,) = [cluster["cluster"] for cluster in proxy.dump("dynamic_active_clusters")
                     if cluster["cluster"]["name"] == "outbound|9080||mirror.test.svc.cluster.local"]
        options = mirror["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        same(options["common_http_protocol_options"]["max_connection_duration"], "1s", "connections to the mirror")
    return "connections to the mirror last 1 s, in the proxy's cluster"


@scenario("deploy/istio/mirror-filters.yaml")
def mirror_filters():
    (outbound_file,) = read("deploy/istio/outbound.yaml")
    for rule in outbound_file["spec"]["pluginConfig"]["rules"]:
        rule["mirrors"][0]["percentage"] = 100
    resources = BOOKINFO + [outbound_file] + read("deploy/istio/destinationrule.yaml") + read("deploy/istio/mirror-filters.yaml")
    with mesh(resources) as one, one.proxy("productpage", env={"STAGING_TOKEN": "staging"}) as proxy:
        for number in range(5):
            proxy.ask("reviews:9080", f"/?n={number}", {"authorization": "Bearer user"})
        same(settled(one, proxy, 5, "mirror"), 5, "copies")
        same({line.authorization for line in copies(one, "mirror")}, {"Bearer staging"}, "credentials of the copies")
        same({line.authorization for line in one.log.lines if line.service.startswith("reviews")}, {"Bearer user"}, "the user's")
        check("Bearer staging" not in json.dumps(proxy.dump("dynamic_active_clusters")), "the token stands in the dump")
        (mirror,) = [cluster["cluster"] for cluster in proxy.dump("dynamic_active_clusters")
                     if cluster["cluster"]["name"] == "outbound|9080||mirror.test.svc.cluster.local"]
        options = mirror["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        same(options["common_http_protocol_options"]["max_connection_duration"], "1s", "connections to the mirror")
    return "5 requests with the user's credentials, 5 copies with staging's; connections to the mirror last 1 s"
