"""What is measured: the workloads, the listeners compared, and the targets they are held against."""

from dataclasses import dataclass, field

# Where copies go: four names for the same upstream, for rules with several mirrors.
CLUSTERS = ["mirror", "mirror-2", "mirror-3", "mirror-4"]


@dataclass(frozen=True)
class Workload:
    """One kind of request. `requests` is the length of one round, some 0.3 seconds. `variants`: the names of those that it runs
    through; none: all that have to do with it."""

    name: str
    title: str
    requests: int
    headers: int = 12
    body: int = 0
    http2: bool = False
    grpc: bool = False
    at_once: int = 8
    path: str = "/reviews/7?verbose=true"
    json: bool = False
    variants: tuple = ()


GETS = ("none", "native", "lua", "floor", "books", "filter-100%", "filter-edits")
BODIES = ("none", "native", "lua", "floor-body", "books-body", "filter-100%")
# What `mirrorctl plan` takes from these, too.
PLANNED = (*BODIES, "filter-unmatched", "filter-0%", "filter-compare")

WORKLOADS = [
    Workload("get-12", "GET, 12 headers", 3000),
    Workload("get-40", "GET, 40 headers", 1500, headers=40, variants=GETS),
    Workload("post-1k", "POST 1 KiB", 1500, body=1 << 10, variants=BODIES),
    Workload("post-16k", "POST 16 KiB", 1200, body=16 << 10, variants=PLANNED),
    Workload("post-256k", "POST 256 KiB", 300, body=256 << 10, variants=BODIES),
    Workload("post-1m", "POST 1 MiB", 100, body=1 << 20, variants=PLANNED),
    Workload("h2-get", "GET over HTTP/2", 2000, http2=True, variants=GETS),
    Workload("grpc", "gRPC unary", 2000, body=100, http2=True, grpc=True, variants=BODIES),
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
    environment: dict = field(default_factory=dict)  # of the VM


# What people write where the route cannot decide: it awaits no response and counts nothing. Headers are copied to a plain table,
# as httpCall wants one.
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


def filtered(name, title, copies, *rules, module="filter", environment=None, **top):
    """The filter, loaded with these rules."""
    return Variant(name, title, copies, module=module, plugin={"rules": list(rules), **top}, environment=environment or {})


EDITS = {
    "consistentHash": {"httpHeaderName": "x-user-id"},
    "rewrite": {"uri": "/v2"},
    "headers": {"remove": ["authorization", "cookie"], "set": {"x-env": "staging"}, "add": {"via": "mirror"}},
}


def filter_variants(module="filter"):
    """The filter in the states that the targets name, and what costs more."""
    unmatched = [{"headers": {"x-mirror": {"exact": "yes"}}}]
    matched = [{"headers": {"x-tenant": {"exact": "acme"}}}]
    return [
        filtered(f"{module}-unmatched", "no rule matches", 0, rule(match=unmatched), module=module),
        filtered(f"{module}-0%", "0 %", 0, rule(percentage=0), module=module),
        filtered(f"{module}-0%-match", "0 %, a header matches", 0, rule(match=matched, percentage=0), module=module),
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
    Variant("told", "module that is told of requests and counts them", 0, module="floor_told"),
    Variant("asking", "module that also asks for a header", 0, module="floor_asking"),
    Variant("floor", "module that only mirrors", 1, module="floor"),
    Variant("books", "module that only mirrors and counts", 1, module="floor_books"),
    Variant("floor-body", "module that only mirrors, with bodies", 1, module="floor_body"),
    Variant("books-body", "module that only mirrors and counts, with bodies", 1, module="floor_books_body"),
]


def compared(workload, variants):
    """The variants that a workload runs through, also of another build."""

    def belongs(name):
        name = name.replace("against-", "filter-")
        return name in workload.variants if workload.variants else not name.endswith("-body")

    return [variant for variant in variants if belongs(variant.name)]


@dataclass(frozen=True)
class Target:
    """`variant` may cost `limit` times what `base` does."""

    workload: str
    variant: str
    base: str
    limit: float
    figure: str = "cpu"


TARGETS = [
    Target("get-12", "filter-100%", "books", 1.02),
    Target("get-12", "filter-100%", "lua", 1.02),
    Target("get-12", "filter-0%", "told", 1.02),
    Target("get-12", "filter-0%-match", "asking", 1.03),
    Target("get-12", "filter-unmatched", "asking", 1.03),
    *(Target(one.name, "filter-100%", base, 1.03) for one in WORKLOADS if one.name.startswith("post-")
      for base in ("floor-body", "books-body")),
    Target("get-12", "filter-100%", "native", 1.05, "p99"),
    Target("post-1m", "filter-100%", "native", 1.10),
    Target("rules", "exact-1000", "exact-1", 1.10),
]
