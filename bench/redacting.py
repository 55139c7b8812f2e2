"""What hiding values costs: two headers of a GET, and one value of each item in a JSON body of some sizes, with a mask and with
pseudonyms, beside the same copies with nothing hidden."""

from plan import PEERS, Workload, filtered, rule

# Sizes of bodies, with requests a round. An item has more than 66 bytes: of 64 KiB less than the 1,000 values that may be hidden.
SIZES = {"1k": (1 << 10, 1500), "10k": (10 << 10, 1000), "64k": (64 << 10, 400)}
HEADERS = ["authorization", "x-user-id"]
JSON = ["/*/name"]
# A key that protects nothing.
KEY = {"TRAFFIC_MIRROR_KEY": "the key of the benchmark"}


def hiding(name, title, **lists):
    """The filter, hiding this; the environment has a key, whether it is needed or not."""
    return filtered(name, title, 1, rule(redact=lists), environment=KEY)


PEER = {variant.name: variant for variant in PEERS}
BESIDE = [PEER["none"], PEER["native"], filtered("filter-100%", "the filter, hiding nothing", 1, rule())]
OF_HEADERS = [
    hiding("redact-headers", "two headers hidden", headers=HEADERS),
    hiding("redact-headers-pseudonym", "two headers, pseudonyms", headers=HEADERS, **{"with": "pseudonym"}),
]
OF_BODIES = [
    hiding("redact-json", "a value of each item hidden", json=JSON),
    hiding("redact-json-pseudonym", "a value of each item, pseudonyms", json=JSON, **{"with": "pseudonym"}),
]
VARIANTS = [*BESIDE, *OF_HEADERS, *OF_BODIES]


def plan():
    """What is run: (workload, its variants)."""
    yield Workload("redact-get", "GET, 12 headers", 2000), [*BESIDE, *OF_HEADERS]
    for size, (length, requests) in SIZES.items():
        # The twelve, and the content-type.
        workload = Workload(f"redact-{size}", f"POST, JSON of {size}", requests, headers=13, body=length, json=True)
        yield workload, [*BESIDE, *OF_BODIES]


def tables(rows, beside, by_byte):
    """For each kind of request, each variant beside the copy with nothing hidden; then what a byte takes."""
    yield from beside(rows, [workload for workload, _ in plan()])
    yield "### Nanoseconds a byte of the body, on top of `filter-100%`\n"
    yield by_byte(rows, [(f"redact-{size}", size, length) for size, (length, _) in SIZES.items()],
                  [variant.name for variant in OF_BODIES], "filter-100%")
