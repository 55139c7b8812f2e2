"""Shares of requests, which two Envoys cannot draw alike: how many copies there are, against what is asked for."""

import math
import random

from oracle import twins
from oracle.world import DOMAIN

REQUESTS = 800
# How far a count may be from the share of the requests, in standard deviations: once in some hundred million.
DEVIATIONS = 6
PERCENTAGES = [0.5, 1, 10, 12.5, 25, 33.3333, 50, 66.6, 75, 90, 99, 99.5]
NAMES = ["m1", "m2"]


def virtual_service(draw):
    """A VirtualService, and the share of each mirror."""
    shares = {name: draw.choice(PERCENTAGES) / 100 for name in NAMES}
    to = {name: {"host": f"{name}.a.{DOMAIN}", "port": {"number": 80}} for name in NAMES}
    route = {"route": [{"destination": {"host": f"cart.a.{DOMAIN}", "port": {"number": 80}}}]}
    spelling = draw.choice(["mirrors", "mirrorPercentage", "mirror_percentage"])
    if spelling == "mirrors":
        route["mirrors"] = [{"destination": to[name], "percentage": {"value": share * 100}} for name, share in shares.items()]
    else:
        shares.pop("m2")
        route.update({"mirror": to["m1"], spelling: {"value": shares["m1"] * 100}})
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["x.test"]}
    return [
        document("networking.istio.io/v1", "Gateway", "gw", "istio-system", {"selector": {"istio": "edge"}, "servers": [server]}),
        document("networking.istio.io/v1", "VirtualService", "route", "a",
                 {"hosts": ["x.test"], "gateways": ["istio-system/gw"], "http": [route]}),
    ], shares


def http_route(draw):
    """An HTTPRoute, and the share of each mirror."""
    shares, filters = {}, []
    for name in NAMES:
        percent, numerator, denominator = draw.randint(1, 99), draw.randint(1, 1000), draw.choice([1000, 3000, 10_000])
        share = draw.choice([{"percent": percent}, {"fraction": {"numerator": percent}},
                             {"fraction": {"numerator": numerator, "denominator": denominator}}])
        filters.append({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name, "port": 80}, **share}})
        shares[name] = numerator / denominator if "denominator" in share.get("fraction", {}) else percent / 100
    listener = {"name": "all", "port": 80, "protocol": "HTTP"}
    rule = {"filters": filters, "backendRefs": [{"name": "cart", "port": 80}]}
    api = "gateway.networking.k8s.io/v1"
    return [
        document(api, "Gateway", "web", "a", {"gatewayClassName": "istio", "listeners": [listener]}),
        document(api, "HTTPRoute", "route", "a", {"parentRefs": [{"name": "web"}], "hostnames": ["x.test"], "rules": [rule]}),
    ], shares


def document(api, kind, name, namespace, spec):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


class Shares:
    """Documents of a share, and many requests of one kind."""

    def __init__(self, seed, number):
        self.documents, self.shares = (virtual_service, http_route)[number % 2](random.Random(f"{seed} {number}"))

    def requests(self, is_gateway):
        return [{"method": "GET", "path": "/", "host": "x.test", "headers": {}}] * (REQUESTS if is_gateway else 0)


def failures(seed, sets, tables_of, upstreams, folder, totals):
    """What is further from its share than chance explains."""
    found = []
    asked = [Shares(seed, number) for number in range(sets)]
    tables = [(one, table) for one in asked for table, *_ in tables_of(one)]
    counted = twins.counts([table for _, table in tables], upstreams, folder)
    for (one, table), sides in zip(tables, counted):
        for name, share in one.shares.items():
            totals["shares"] += 1
            most = DEVIATIONS * math.sqrt(REQUESTS * share * (1 - share)) + 1
            copies = [side[f"outbound|80||{name}.a.{DOMAIN}"] for side in sides]
            totals["copies of shares"] += copies[0]
            if any(abs(count - REQUESTS * share) > most for count in copies):
                found.append(f"{table.title}: a share of {share:.4f} of {REQUESTS}: Envoy copies {copies[0]}, the plugin {copies[1]}: "
                             f"{one.documents[1]}")
    if len(tables) != sets:
        found.append(f"{len(tables)} tables of {sets} sets of shares")
    return found
