"""What a scenario is, and how all of them are run: each in a mesh of its own, with a line of what was seen."""

import contextlib
import pathlib
import signal
import sys
import tempfile
import time
import traceback

import yaml

from envoy import ROOT, Failure
from mesh import Mesh

SCENARIOS = []


def scenario(title):
    """Makes a function a scenario; it returns what was seen, the same words in each run."""
    def add(function):
        SCENARIOS.append((title, function))
        return function

    return add


def labels_of_the_metrics():
    """The mesh's configuration that the documents tell to set."""
    return yaml.safe_load((ROOT / "deploy/istio/stats.yaml").read_text())["meshConfig"]


@contextlib.contextmanager
def mesh(resources, config=None, features=None, has_tls=False):
    """A mesh with these resources, and by default with the labels as deploy/istio/stats.yaml sets them."""
    with tempfile.TemporaryDirectory(prefix="traffic-mirror-istio-") as folder:
        one = Mesh(pathlib.Path(folder), resources, labels_of_the_metrics() if config is None else config,
                   features or {}, has_tls)
        try:
            with one:
                yield one
        except BaseException:
            one.show_logs()
            raise


def run(only):
    """Runs the scenarios whose title has one of these words, or all; returns what was seen, how many failed, were they all."""
    chosen = [one for one in SCENARIOS if not only or any(word in one[0] for word in only)]
    rows, failed = [], 0
    for title, function in chosen:
        started = time.monotonic()
        try:
            seen = function()
            rows.append((title, seen))
            print(f"ok    {title}: {seen} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception as error:
            failed += 1
            why = error if isinstance(error, Failure) else traceback.format_exc()
            print(f"FAIL  {title}: {why} ({time.monotonic() - started:.1f} s)", flush=True)
    return rows, failed, len(chosen) == len(SCENARIOS)


def table(rows):
    return "\n".join(["| scenario | seen |", "|---|---|", *(f"| {title} | {seen} |" for title, seen in rows)])


def document(path, target, rows, is_written):
    """Holds the document's table against what was seen, or writes it there; returns what is wrong with it."""
    begin, end = f"<!-- what `make {target}` has seen -->", "<!-- end -->"
    before, rest = (ROOT / path).read_text().split(begin)
    shown, after = rest.split(end)
    if is_written:
        (ROOT / path).write_text(f"{before}{begin}\n\n{table(rows)}\n\n{end}{after}")
    elif shown.strip() != table(rows):
        return f"{path} has another table; `make {target} ISTIO_ARGS=--update` writes it:\n{table(rows)}"
    return None


def main(arguments, path, target):
    """Runs scenarios by words of their titles; with `--update`, writes the table of what was seen into the document."""
    # Whoever stops us stops what we have started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    is_written = "--update" in arguments
    rows, failed, is_complete = run([word for word in arguments if not word.startswith("--")])
    if not failed and is_complete and (why := document(path, target, rows, is_written)):
        print(f"FAIL  {why}")
        failed += 1
    print(f"test result: {'FAILED' if failed else 'ok'}. {len(rows)} passed; {failed} failed")
    return 1 if failed else 0
