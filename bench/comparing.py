"""What comparing responses costs: the compare module idle, comparing status, and comparing JSON of some sizes, beside the other
module and Envoy's own mirroring."""

import re

import documents
from plan import PEERS, Workload, filtered, rule

# Sizes of responses, with requests a round.
SIZES = {"1k": (1 << 10, 2000), "10k": (10 << 10, 1000), "60k": (60 << 10, 300)}
# Both upstreams' items are the same but for their ids, which are not compared.
FIRST_IDS = {"primary": 0, "mirror": 1_000_000}
BODY = {"json": {"ignore": ["/*/id"]}}


def path(size):
    """Where the upstreams have a response of a size."""
    return f"/json/{size}"


def routes(side):
    """The upstreams' routes for these responses."""
    return [{
        "match": {"path": path(size)},
        "direct_response": {"status": 200, "body": {"inline_string": documents.items(length, FIRST_IDS[side])}},
        "response_headers_to_add": [{"header": {"key": "content-type", "value": "application/json"},
                                     "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    } for size, (length, _) in SIZES.items()]


PEER = {variant.name: variant for variant in PEERS}
VARIANTS = [
    PEER["none"],
    PEER["native"],
    filtered("filter-100%", "the filter", 1, rule()),
    filtered("filter-compare", "the filter, comparing status", 1, rule(compare=True)),
    filtered("compare-0%", "the compare module, 0 %", 0, rule(percentage=0), module="compare"),
    filtered("compare-100%", "the compare module, comparing nothing", 1, rule(), module="compare"),
    filtered("compare-status", "the compare module, comparing status", 1, rule(compare=True), module="compare"),
    filtered("compare-json", "the compare module, comparing JSON", 1,
             {**rule(), "compare": {"status": True, "body": BODY}}, module="compare"),
]


def plan():
    """What is run: (workload, its variants)."""
    for size, (_, requests) in SIZES.items():
        yield Workload(f"json-{size}", f"GET, response of {size}", requests, path=path(size)), VARIANTS


def check(proxy):
    """Raises unless the pairs of a proxy were compared and found to be the same: all else costs less."""
    results = {}
    for result, count in re.findall(r"result=\.=(\w+);\.;compared_total: (\d+)", proxy.get("/stats?filter=compared_total")):
        results[result] = results.get(result, 0) + int(count)
    if not results.pop("same", 0) or any(results.values()):
        raise SystemExit(f"bench: responses that are the same were not all found so: {results}")


def tables(rows, beside, by_byte):
    """For each size, each variant beside those without mirroring, with Envoy's own, and the other module; then what a byte takes."""
    yield from beside(rows, [workload for workload, _ in plan()])
    yield "### Nanoseconds a byte of the response, on top of `compare-100%`\n"
    yield by_byte(rows, [(f"json-{size}", size, length) for size, (length, _) in SIZES.items()],
                  ["compare-status", "compare-json"], "compare-100%")
