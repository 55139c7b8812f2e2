"""Draws the queries of a dashboard's panels, as `make dashboard-preview` got them from a Prometheus."""

import math
import re

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as pyplot

COLUMNS = 3
# The same picture for the same figures.
matplotlib.rcParams.update({"svg.hashsalt": "traffic-mirror", "font.size": 7, "axes.spines.top": False, "axes.spines.right": False})
UNITS = {"reqps": "requests/s", "percentunit": "share", "ms": "ms", "bytes": "bytes", "short": ""}


def draw(panels, series, path):
    rows = math.ceil(len(panels) / COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(13, 2.4 * rows), layout="constrained")
    for panel, axis in zip(panels, axes.flat):
        draw_panel(panel, series, axis)
    for axis in axes.flat[len(panels):]:
        axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def draw_panel(panel, series, axis):
    lines = [(label(legend, one["metric"]), points(one)) for query, legend in panel.queries for one in series[query]]
    lines = [(name, line) for name, line in lines if line]
    first = min((line[0][0] for _, line in lines), default=0)
    if panel.stacked:
        moments = sorted({moment for _, line in lines for moment, _ in line})
        # What is 0 all the time would only fill the legend.
        shown = [(name, dict(line)) for name, line in lines if any(value for _, value in line)]
        axis.stackplot([moment - first for moment in moments],
                       [[line.get(moment, 0) for moment in moments] for _, line in shown],
                       labels=[name for name, _ in shown], alpha=0.7)
    else:
        for name, line in lines:
            axis.plot([moment - first for moment, _ in line], [value for _, value in line], label=name, linewidth=1.2)
    axis.set_title(panel.title, loc="left", fontsize=8)
    axis.set_ylabel(UNITS[panel.unit])
    axis.set_xlabel("s")
    values = [value for _, line in lines for _, value in line]
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom if min(values, default=0) < 0 else 0, max(top, 1) if panel.unit != "percentunit" else 1.05)
    if lines:
        axis.legend(frameon=False, fontsize=6)


def points(series):
    points = [(float(moment), float(value)) for moment, value in series["values"]]
    return [(moment, value) for moment, value in points if not math.isnan(value)]


def label(legend, metric):
    """A legend as Grafana fills it in; of a cluster as Istio names it, its subset alone."""
    filled = re.sub(r"\{\{(\w+)\}\}", lambda name: metric.get(name[1], ""), legend)
    return re.sub(r"outbound\|\d+\|([^|]+)\|[\w.]+", r"\1", filled)
