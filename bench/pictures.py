"""Draws the pictures of RESULTS.md."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plot  # noqa: E402 (after the backend is chosen)

import growth as grown  # noqa: E402
import plan  # noqa: E402
from report import order, ratio  # noqa: E402

plot.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "bench", "font.family": "sans-serif", "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "figure.facecolor": "white",
})
GREY, BLUE, LIGHT = "#9aa5b1", "#1f6feb", "#c9d1d9"
COUNTING = ("told", "asking", "books")


def colour(name):
    """Blue for the filter, light grey for what is a yardstick only, grey for what a user would pick instead."""
    return BLUE if name.startswith("filter") else LIGHT if name.startswith(("floor", "none", *COUNTING)) else GREY


def error(found):
    middle, least, greatest = found
    return [[middle - least], [greatest - middle]]


def save(figure, file):
    figure.savefig(file, metadata={"Date": None})
    plot.close(figure)


def results(measured, file):
    """CPU of every variant on the first workload, and of what mirrors 100 % on all."""
    rows = measured["cpu"]
    if not rows:
        return
    figure, (left, right) = plot.subplots(1, 2, figsize=(12, 5.2), layout="constrained")
    bars(left, rows)
    groups(right, rows)
    save(figure, file)


def bars(axes, rows):
    first = plan.WORKLOADS[0]
    names = [name for name in order(rows, first.name) if not name.startswith("against")][::-1]
    found = {name: ratio(rows, first.name, name, "none") for name in names}
    names = [name for name in names if found[name]]  # without `none`, there is nothing to show
    for place, name in enumerate(names):
        axes.barh(place, found[name][0], xerr=error(found[name]), color=colour(name), ecolor="#57606a", capsize=2)
        axes.text(found[name][2] + 0.03, place, f"{found[name][0]:.2f}", va="center")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("CPU a request ÷ no mirroring (median, quartiles)")
    axes.set_title(first.title, loc="left")


def groups(axes, rows):
    shown = [workload for workload in plan.WORKLOADS if order(rows, workload.name)]
    names = [("lua", "Lua", GREY), ("floor", "floor", LIGHT), ("filter-100%", "filter", BLUE)]
    for shift, (name, label, shade) in enumerate(names):
        for place, workload in enumerate(shown):
            variant = "floor-body" if name == "floor" and workload.body else name
            if found := ratio(rows, workload.name, variant, "native"):
                axes.bar(place + (shift - 1) * 0.27, found[0], 0.25, yerr=error(found), color=shade, ecolor="#57606a",
                         capsize=2, label=label if place == 0 else None)
    axes.axhline(1, color="black", linewidth=0.8)
    labels = [workload.title.replace(",", "").replace(" ", "\n") for workload in shown]
    axes.set_xticks(range(len(shown)), labels, fontsize="small")
    axes.set_ylim(0, 2)
    axes.set_ylabel("CPU a request ÷ native")
    axes.set_title("Mirroring 100 %, beside Envoy's request_mirror_policies", loc="left")
    axes.legend(frameon=False, ncols=3)


def growth(measured, file):
    """Four panels, one for each thing that grows."""
    rows = measured["growth"]
    figure, ((rules, bodies), (mirrors, headers)) = plot.subplots(2, 2, figsize=(12, 8), layout="constrained")
    for kind, style in zip(grown.KINDS, ("o-", "s--", "^:")):
        found = [ratio(rows, "rules", f"{kind}-{count}", f"{kind}-1") for count in grown.RULES]
        line(rules, grown.RULES, found, style, kind, BLUE)
    finish(rules, "rules, none of which matches", "CPU a request ÷ one rule of the kind", grown.RULES)
    for axes, key, sizes, floor, name in [(bodies, "body", grown.BODIES, "floor-body", "filter-large"),
                                          (headers, "headers", grown.HEADERS, "floor", "filter-100%")]:
        for variant, style, label, shade in [(floor, "s--", "floor", GREY), (name, "o-", "filter", BLUE)]:
            line(axes, sizes, [ratio(rows, f"{key}-{size}", variant, "native") for size in sizes], style, label, shade)
    finish(bodies, "body", "CPU a request ÷ native", grown.BODIES, human)
    finish(headers, "headers", "CPU a request ÷ native", grown.HEADERS)
    for name, style, shade in [("native", "s--", GREY), ("filter", "o-", BLUE)]:
        found = [ratio(rows, "mirrors", f"{name}-x{count}", "native-x1") for count in grown.MIRRORS]
        line(mirrors, grown.MIRRORS, found, style, name, shade)
    finish(mirrors, "mirrors", "CPU a request ÷ one native mirror", grown.MIRRORS)
    save(figure, file)


def line(axes, sizes, found, style, label, shade):
    """One curve, with its quartiles behind it."""
    points = [(size, *one) for size, one in zip(sizes, found) if one]
    if points:
        x, middle, least, greatest = zip(*points)
        axes.plot(x, middle, style, label=label, color=shade)
        axes.fill_between(x, least, greatest, color=shade, alpha=0.15)


def finish(axes, x, y, ticks, text=str):
    axes.set_xscale("log")
    axes.set_xticks(ticks, [text(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0)
    axes.grid(axis="y", color="#eaeef2")
    axes.legend(frameon=False)


def human(size):
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
