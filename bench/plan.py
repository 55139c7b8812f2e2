"""What is measured: the workloads, the listeners compared, and the targets they are held against."""

from dataclasses import dataclass, field

# Where copies go: four names for the same upstream, for rules with several mirrors.
CLUSTERS = ["mirror", "mirror-2", "mirror-3", "mirror-4"]


@dataclass(frozen=True)
class Workload:
    """One kind of request. `requests` is the length of one round, some 0.3 seconds."""

    name: str
    title: str
    requests: int
    headers: int = 12
    body: int = 0
    http2: bool = False
    grpc: bool = False
    at_once: int = 8
    path: str = "/reviews/7?verbose=true"


WORKLOADS = [
    Workload("get-12", "GET, 12 headers", 4000),
    Workload("get-40", "GET, 40 headers", 1500, headers=40),
    Workload("post-10k", "POST 10 KiB", 1500, body=10 << 10),
    Workload("post-1m", "POST 1 MiB", 150, body=1 << 20),
    Workload("h2-get", "GET over HTTP/2", 2000, http2=True),
    Workload("grpc", "gRPC unary", 2000, body=100, http2=True, grpc=True),
]


@dataclass(frozen=True)
class Variant:
    """One listener of the proxy: at most one HTTP filter, or the route's own mirroring."""

    name: str
    title: str
    copies: float = 0  # expected for one request
    module: str = ""  # key into the modules' paths
    plugin: dict = field(default_factory=dict)
    lua: str = ""
    native: float = 0  # percent of request_mirror_policies


# What people write where the route cannot decide. Headers are copied to a plain table, as httpCall wants one.
LUA = """
function envoy_on_request(handle)
  local headers = {}
  for name, value in pairs(handle:headers()) do headers[name] = value end
  local body = handle:body()
  handle:httpCall("mirror", headers, body and body:getBytes(0, body:length()) or nil, 5000, true)
end
"""


def rule(name="bench", match=None, mirrors=1, compare=False, **mirror):
    """A rule with some mirrors; `mirror` is what stands beside their cluster."""
    mirrors = [{"cluster": cluster, **mirror} for cluster in CLUSTERS[:mirrors]]
    optional = {"match": match, "compare": compare and {"status": True}}
    return {"name": name, "mirrors": mirrors, **{field: value for field, value in optional.items() if value}}


def filtered(name, title, copies, *rules, module="filter", **top):
    """The filter, loaded with these rules."""
    return Variant(name, title, copies, module=module, plugin={"rules": list(rules), **top})


EDITS = {
    "consistentHash": {"httpHeaderName": "x-user-id"},
    "rewrite": {"uri": "/v2"},
    "headers": {"remove": ["authorization", "cookie"], "set": {"x-env": "staging"}, "add": {"via": "mirror"}},
}


def filter_variants(module="filter"):
    """The filter in the states that the targets name, and what costs more."""
    unmatched = [{"headers": {"x-mirror": {"exact": "yes"}}}]
    return [
        filtered(f"{module}-unmatched", "no rule matches", 0, rule(match=unmatched), module=module),
        filtered(f"{module}-0%", "0 %", 0, rule(percentage=0), module=module),
        filtered(f"{module}-1%", "1 %", 0.01, rule(percentage=1), module=module),
        filtered(f"{module}-100%", "100 %", 1, rule(), module=module),
        filtered(f"{module}-compare", "100 %, compared with the primary", 1, rule(compare=True), module=module),
        filtered(f"{module}-edits", "100 %, hashed and edited", 1,
                 rule(match=[{"uri": {"prefix": "/reviews"}}], **EDITS), module=module),
    ]


PEERS = [
    Variant("none", "no mirroring"),
    Variant("native", "request_mirror_policies, 100 %", 1, native=100),
    Variant("native-1%", "request_mirror_policies, 1 %", 0.01, native=1),
    Variant("lua", "Lua filter, 100 %", 1, lua=LUA),
    Variant("floor-idle", "module that does nothing", 0, module="floor_idle"),
    Variant("floor", "module that only mirrors", 1, module="floor"),
    Variant("floor-body", "module that only mirrors, with bodies", 1, module="floor_body"),
]


def compared(workload, variants):
    """The variants that a workload runs through: the floor that keeps bodies only where there are bodies."""
    absent = "floor" if workload.body else "floor-body"
    return [variant for variant in variants if variant.name != absent]


@dataclass(frozen=True)
class Target:
    """`variant` may cost `limit` times what `base` does."""

    workload: str
    variant: str
    base: str
    limit: float
    figure: str = "cpu"


TARGETS = [
    Target("get-12", "filter-100%", "floor", 1.05),
    Target("get-12", "filter-100%", "lua", 1.05),
    Target("get-12", "filter-0%", "floor-idle", 1.03),
    Target("get-12", "filter-unmatched", "floor-idle", 1.04),
    Target("get-12", "filter-1%", "native-1%", 1.05),
    Target("get-12", "filter-100%", "native", 1.05, "p99"),
    Target("post-1m", "filter-100%", "native", 1.10),
    Target("rules", "exact-1000", "exact-1", 1.10),
]
