"""Turns what was measured into tables. A ratio is taken between two variants in one round of one process, where all else is
equal; shown is the median over all rounds of all starts, beside the quartiles."""

import statistics

import comparing
import growth
import nginx
import plan
import redacting
import sidecar



def values(rows, workload, variant, figure):
    """The figure by start: the least of its rounds, as whatever else the machine does can only add to it."""
    found = {}
    for row in rows:
        if row["workload"] == workload and row["variant"] == variant:
            found.setdefault(row["start"], []).append(row[figure])
    return {start: min(rounds) for start, rounds in found.items()}


def spread(starts):
    """(median, least, greatest) over the starts; None where there is nothing."""
    return (statistics.median(starts), min(starts), max(starts)) if starts else None


def absolute(rows, workload, variant, figure="cpu"):
    return spread(list(values(rows, workload, variant, figure).values()))


def quartiles(found):
    """(median, first quartile, third quartile); None where there is nothing."""
    if len(found) < 2:
        return tuple(found * 3) or None
    first, median, third = statistics.quantiles(found, n=4, method="inclusive")
    return median, first, third


def paired(rows, workload, variant, base, figure="cpu"):
    """The figures of a variant and of a base, round by round of the same process: the luck of a start is in both."""

    def rounds(name):
        return {(row["start"], row["round"]): row[figure] for row in rows if (row["workload"], row["variant"]) == (workload, name)}

    over, under = rounds(variant), rounds(base)
    return [(over[one], under[one]) for one in over if one in under]


def ratio(rows, workload, variant, base, figure="cpu"):
    """How many times the base's figure the variant has."""
    return quartiles([over / under for over, under in paired(rows, workload, variant, base, figure)])


def ranged(found, digits=2):
    """A figure with its range, as a cell."""
    return "" if not found else "{:.{d}f} ({:.{d}f}..{:.{d}f})".format(*found, d=digits)


def table(head, rows):
    """A Markdown table; the first column is text."""
    lines = [head, [":--"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def titles():
    filters = [*plan.filter_variants(), *plan.filter_variants("against")]
    known = [*plan.PEERS, *filters, *comparing.VARIANTS, *redacting.VARIANTS, *nginx.VARIANTS, *growth.variants()]
    return {variant.name: variant for variant in known}


def order(rows, workload):
    """The workload's variants that were measured, in the order of the plan."""
    measured = {row["variant"] for row in rows if row["workload"] == workload}
    return [name for name in titles() if name in measured]


def against(rows, workload, bases, figure="cpu", digits=1):
    """A table of the workload's variants: the figure itself, and its ratio to each base."""
    present = order(rows, workload)
    bases = [base for base in bases if base in present]
    body = [[f"`{name}`", ranged(absolute(rows, workload, name, figure), digits),
             *("" if name == base else ranged(ratio(rows, workload, name, base, figure)) for base in bases)]
            for name in present]
    return table(["", "µs", *(f"× `{base}`" for base in bases)], body)


def beside(rows, workloads):
    """For each workload, each variant beside those without mirroring, with Envoy's own, and with the filter's at 100 %."""
    for workload in workloads:
        yield f"### {workload.title} (CPU a request)\n"
        yield against(rows, workload.name, ["none", "native", "filter-100%"])


def by_byte(rows, workloads, names, base):
    """A table of what variants take on top of a base, by the byte; `workloads`: (name, title, length)."""

    def cell(workload, length, name):
        pairs = paired(rows, workload, name, base)
        return ranged(quartiles([(over - under) * 1000 / length for over, under in pairs]), 1)

    return table(["", *(f"`{name}`" for name in names)], [
        [title, *(cell(workload, length, name) for name in names)] for workload, title, length in workloads])


def judged(results, target):
    """A target's ratio, or None where it was not measured."""
    rows = results["latency"] if target.figure == "p99" else results["cpu"] + results["growth"]
    return ratio(rows, target.workload, target.variant, target.base, target.figure)


def compared(rows):
    """Two builds of the filter, state by state."""
    states = ["unmatched", "0%", "1%", "100%", "edits"]
    return table(["", *states], [
        [workload.name, *(ranged(ratio(rows, workload.name, f"filter-{one}", f"against-{one}"), 3) for one in states)]
        for workload in plan.WORKLOADS if order(rows, workload.name)])


def targets(results):
    """The table of targets, with a verdict on the median."""
    body = []
    for target in plan.TARGETS:
        found = judged(results, target)
        what = "p99 at half load" if target.figure == "p99" else "CPU a request"
        verdict = "not measured" if not found else "pass" if found[0] <= target.limit else "**fail**"
        body.append([f"{target.workload}: {what} of `{target.variant}` ÷ `{target.base}`", f"≤ {target.limit:.2f}",
                     ranged(found, 3), verdict])
    return table(["what", "target", "median (quartiles)", ""], body)


def peers(results):
    """What 100 % costs each server relative to itself: nginx's mirror module beside Envoy's ways."""
    pairs = [("nginx's mirror module", results["nginx"], "nginx-mirror", "nginx"),
             ("nginx's mirror module, answers without a body", results["nginx"], "nginx-mirror-empty", "nginx"),
             ("Envoy's request_mirror_policies", results["cpu"], "native", "none"),
             ("Envoy with Lua", results["cpu"], "lua", "none"),
             ("Envoy with this filter", results["cpu"], "filter-100%", "none")]
    workloads = [workload for workload in plan.WORKLOADS if workload.name in nginx.WORKLOADS]
    body = [[what, *(ranged(ratio(rows, one.name, variant, base)) for one in workloads)]
            for what, rows, variant, base in pairs]
    body += [[f"nginx, {variant.title}: µs",
              *(ranged(absolute(results["nginx"], one.name, variant.name), 1) for one in workloads)]
             for variant in nginx.VARIANTS]
    return table(["100 % ÷ the same server not mirroring", *(one.title for one in workloads)], body)


def grown(results):
    """The tables of growth."""
    rows = results["growth"]
    yield "### Rules, none of which matches (CPU ÷ that of one rule of the kind)"
    yield table(["rules", *growth.KINDS], [
        [count, *(ranged(ratio(rows, "rules", f"{kind}-{count}", f"{kind}-1")) for kind in growth.KINDS)]
        for count in growth.RULES])
    yield "### Mirrors (CPU a request)"
    yield table(["mirrors", "native, µs", "filter, µs", "filter ÷ native"], [
        [count, *(ranged(absolute(rows, "mirrors", f"{name}-x{count}"), 1) for name in ("native", "filter")),
         ranged(ratio(rows, "mirrors", f"filter-x{count}", f"native-x{count}"))] for count in growth.MIRRORS])
    for title, key, sizes, floor, name in [("Body, bytes", "body", growth.BODIES, "floor-body", "filter-large"),
                                           ("Headers", "headers", growth.HEADERS, "floor", "filter-100%")]:
        yield f"### {title} (CPU a request)"
        yield table([title.lower(), "native, µs", "filter, µs", "floor ÷ native", "filter ÷ native"], [
            [size, *(ranged(absolute(rows, f"{key}-{size}", one), 1) for one in ("native", name)),
             *(ranged(ratio(rows, f"{key}-{size}", one, "native")) for one in (floor, name))] for size in sizes])


def quiet(results):
    """Whether the proxy had its core for itself; others on it spoil every figure."""
    rows = [row for phase in ("cpu", "compare", "redact", "growth") for row in results.get(phase, [])]
    share = sum(row["waited"] for row in rows) / max(1, sum(row["cpu"] for row in rows))
    if share < 0.02:
        return ""
    return f"**The machine was not quiet**: for every second on its core the proxy waited {share:.2f} s for others.\n"


def markdown(results):
    """RESULTS.md."""
    about = results["machine"]
    starts = len({row["start"] for row in results["cpu"]})
    out = ["# Results", "",
           f"Made by `make bench` on {about['cores']} cores of {about['cpu']}, Linux {about['kernel']}, Envoy "
           f"{about['envoy']}, h2load {about['load']}. How, and what each name means: [README.md](README.md). "
           f"Ratios and nanoseconds a byte are medians of paired rounds, with the quartiles behind them. All else is a median over starts of the proxy "
           f"({starts} for most), with the least and the greatest start behind it.",
           "", quiet(results), "## Targets", "", targets(results), "![Results](results.svg)", ""]
    out += ["## CPU time of the proxy for one request", ""]
    for workload in plan.WORKLOADS:
        if order(results["cpu"], workload.name):
            bases = ["none", "native", *(["floor-body", "books-body"] if workload.body else ["floor", "books"])]
            out += [f"### {workload.title} (`{workload.name}`)", "",
                    against(results["cpu"], workload.name, bases)]
    if any(row["variant"].startswith("against") for row in results["cpu"]):
        out += ["### The module ÷ the one it is compared with", "", compared(results["cpu"])]
    if results.get("compare"):
        out += ["## Comparing responses", "", *comparing.tables(results["compare"], beside, by_byte)]
    if results.get("redact"):
        out += ["## Hiding values", "", *redacting.tables(results["redact"], beside, by_byte)]
    if results["latency"]:
        out += ["## Latency of the primary at half load", "",
                f"GET with 12 headers, {results['latency'][0]['rate']} a second: half of what `none` can do.", ""]
        for figure in ("p50", "p99"):
            out += [f"### {figure}", "", against(results["latency"], "get-12", ["none", "native"], figure, 0)]
    if results["sidecar"]:
        out += ["## What a sidecar pays", "",
                "A proxy with one listener, which has mirrored nothing: processor time until it is ready, memory in MiB (resident, "
                "and of it what no file backs), by its workers; then with one worker, after updates, without and with Envoy's "
                "`memory_allocator_manager`. Medians.", "", *sidecar.tables(results, table)]
    if results["nginx"]:
        out += ["## Beside nginx", "", peers(results)]
    if results["growth"]:
        out += ["## Growth", "", "![Growth](growth.svg)", ""]
        out += [part + ("\n" if part[0] == "#" else "") for part in grown(results)]
    return "\n".join(out).rstrip() + "\n"
