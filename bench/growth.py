"""What grows: the same CPU figure against the number of rules, the body, the mirrors and the headers."""

from plan import PEERS, Variant, Workload, filtered, rule

RULES = [1, 10, 100, 1000]
BODIES = [1 << power for power in (12, 16, 20, 24)]
MIRRORS = [1, 2, 4]
HEADERS = [5, 20, 80]

# Values that the load's x-tenant does not have: the header is there, so that its value has to be looked at.
KINDS = {
    "exact": lambda number: {"exact": f"tenant-{number:04}"},
    "prefix": lambda number: {"prefix": f"tenant-{number:04}"},
    "regex": lambda number: {"regex": f"tenant-{number:04}-[a-z]+"},
}


def rules(kind, count):
    """The filter with rules of one kind, of which none matches."""
    matches = [[{"headers": {"x-tenant": KINDS[kind](number)}}] for number in range(count)]
    many = [rule(f"rule-{number}", match) for number, match in enumerate(matches)]
    return filtered(f"{kind}-{count}", f"{count} rules ({kind})", 0, *many)


def mirrors(count):
    """The route's own mirroring, and the filter, each with several mirrors."""
    return [
        Variant(f"native-x{count}", f"native, {count} mirrors", count, native=100),
        filtered(f"filter-x{count}", f"filter, {count} mirrors", count, rule(mirrors=count)),
    ]


PEER = {variant.name: variant for variant in PEERS}
LIMITS = {"maxBodyBytes": BODIES[-1], "maxBufferedBytes": 8 * BODIES[-1]}
LARGE = filtered("filter-large", "filter, large bodies", 1, rule(), limits=LIMITS)
PLAIN = filtered("filter-100%", "filter", 1, rule())


def plan():
    """What is run: (workload, its variants)."""
    unmatched = [rules(kind, count) for kind in KINDS for count in RULES]
    yield Workload("rules", "rules", 1200), unmatched
    for size in BODIES:
        requests = max(16, min(1500, (48 << 20) // size))
        workload = Workload(f"body-{size}", f"body of {size}", requests, body=size, at_once=4)
        yield workload, [PEER["none"], PEER["native"], PEER["floor-body"], LARGE]
    yield Workload("mirrors", "mirrors", 1200), [variant for count in MIRRORS for variant in mirrors(count)]
    for count in HEADERS:
        workload = Workload(f"headers-{count}", f"{count} headers", 1200, headers=count)
        yield workload, [PEER["none"], PEER["native"], PEER["floor"], PLAIN]


def variants():
    """Every listener that the plan needs, once."""
    return list({variant.name: variant for _, some in plan() for variant in some}.values())
