"""What a proxy pays for a module before its first request, and what updates leave behind: processor time and memory."""

import json
import pathlib
import re
import statistics
import subprocess
import time

import envoys
import plan

# None is Envoy without a module.
MODULES = [None, "floor", "filter", "compare", "against"]
WORKERS = [1, 4, 16]
# Of these alone it is asked what updates leave behind.
UPDATED = ["floor", "filter", "against"]
# What happens to a proxy of one worker after its start: pushes of another configuration, or of another module.
UPDATES = {"20 pushes of 1,000 rules": 20, "5 new modules": 5}
IDLE = {"rules": [plan.rule(percentage=0)]}
ALLOCATOR = {"memory_allocator_manager": {"bytes_to_release": 100 << 20, "memory_release_interval": "1s"}}


class Filter:
    """The file that Envoy watches for the filter's configuration (ECDS)."""

    def __init__(self, folder):
        self.folder, self.file, self.version = folder, folder / "filter.json", 0

    def write(self, module, plugin):
        """Puts another version in place, in one step, as Envoy wants it."""
        self.version += 1
        config = envoys.wasm_filter("mirror", module, plugin)
        config["@type"] = envoys.TYPE.split("/")[0] + "/envoy.config.core.v3.TypedExtensionConfig"
        following = self.folder / "following.json"
        following.write_text(json.dumps({"version_info": str(self.version), "resources": [config]}))
        following.rename(self.file)


def config(watched, bootstrap):
    """One listener, whose filter comes from the file, if there is one."""
    filters = []
    if watched:
        source = {"path_config_source": {"path": str(watched.file)}, "resource_api_version": "V3"}
        types = [envoys.TYPE + "filters.http.wasm.v3.Wasm"]
        filters = [{"name": "mirror", "config_discovery": {"config_source": source, "type_urls": types}}]
    route = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    node = {"id": "bench", "cluster": "bench"}  # a filter that comes by ECDS wants them
    return {**envoys.bootstrap([envoys.listener("one", route, filters, False)], []), "node": node, **bootstrap}


def rules(changed):
    """A thousand rules, of which one differs from push to push."""
    names = [f"tenant-{number:04}" for number in range(1000)]
    names[changed] += "-changed"
    return {"rules": [plan.rule(f"rule-{number}", [{"headers": {"x-tenant": {"exact": name}}}])
                      for number, name in enumerate(names)]}


def another(module, number, folder):
    """The same module with other bytes: a custom section of two bytes is put at its end."""
    copy = folder / f"module-{number}.wasm"
    copy.write_bytes(module.read_bytes() + bytes([0, 2, 1, number]))
    return copy


def memory(pid):
    """MiB: resident, and of it what no file backs."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}
    return {"rss": kilobytes["Rss"] / 1024, "private": kilobytes["Anonymous"] / 1024}


def processor_time(pid):
    """Seconds so far, of threads that ended, too."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def applied(proxy, number, deadline=60):
    """Waits until so many configurations of the filter have been put to work; raises if one is rejected."""
    end = time.monotonic() + deadline
    while True:
        stats = proxy.get("/stats?filter=extension_config_discovery.*config_(reload|fail)$")
        counts = {name: int(value) for name, value in re.findall(r"config_(reload|fail): (\d+)", stats)}
        if counts.get("fail"):
            raise RuntimeError(f"Envoy rejected a configuration:\n{proxy.log.read_text()[-2000:]}")
        if counts.get("reload") == number:
            return
        if time.monotonic() > end:
            raise RuntimeError(f"{counts}, not {number} configurations")
        time.sleep(0.01)


def measured(module, folder, workers=1, update="", bootstrap=None):
    """Starts a proxy, updates it, and measures it."""
    watched = Filter(folder) if module else None
    if watched:
        watched.write(module, IDLE)
    with envoys.running(config(watched, bootstrap or {}), envoys.PROXY_CORE, workers) as proxy:
        spent = processor_time(proxy.pid)
        for number in range(UPDATES.get(update, 0)):
            if "modules" in update:
                watched.write(another(module, number, folder), IDLE)
            else:
                watched.write(module, rules(number))
            applied(proxy, number + 2)
        time.sleep(3 if update else 0.3)  # what ends does so a little later; the allocator gives back once a second
        return {"cpu": spent, **memory(proxy.pid)}


def start(modules, number, random, folder):
    """The rows of one start of each."""
    cases = [{"module": module, "workers": workers} for module in MODULES for workers in WORKERS]
    for case in [(module, update, released) for module in UPDATED for update in UPDATES for released in (False, True)]:
        cases.append(dict(zip(("module", "update", "released"), case)))
    for case in random.sample(cases, len(cases)):
        name = case["module"]
        if name and name not in modules:
            continue
        bootstrap = ALLOCATOR if case.get("released") else {}
        found = measured(modules.get(name), folder, case.get("workers", 1), case.get("update", ""), bootstrap)
        yield {"start": number, **case, **found}


def sizes(path):
    """Bytes of a module, of its code, and of its largest function, as `make size` tells them."""
    argv = ["cargo", "run", "--quiet", "--locked", "--package", "size", "--", path]
    text = subprocess.run(argv, cwd=envoys.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return [int(re.search(pattern, text, re.MULTILINE)[1])
            for pattern in (r": (\d+) bytes$", r"^code: (\d+) bytes", r"^the largest function: (\d+) bytes")]


def median(rows, figure, **where):
    """The median of a figure over the rows that are so."""
    found = [row[figure] for row in rows if all(row.get(key) == value for key, value in where.items())]
    return statistics.median(found) if found else None


def tables(results, table):
    """The tables for RESULTS.md."""
    rows, about = results["sidecar"], results["modules"]
    names = [name for name in MODULES if any(row["module"] == name for row in rows)]
    titles = {name: f"`{name}`" if name else "`none`" for name in names}

    def cell(figure, digits, **where):
        found = median(rows, figure, **where)
        return "" if found is None else f"{found:.{digits}f}"

    head = ["", "module, bytes", "code", "largest function", "CPU to ready, s"]
    yield table([*head, *(f"{workers} workers: RSS, private" for workers in WORKERS)], [
        [titles[name], *(f"{size:,}" for size in about.get(name, [])), *[""] * (3 - len(about.get(name, []))),
         cell("cpu", 2, module=name, workers=1),
         *(f"{cell('rss', 1, module=name, workers=workers)}, {cell('private', 1, module=name, workers=workers)}"
           for workers in WORKERS)] for name in names])
    yield table(["", *(f"{update}{more}" for update in UPDATES for more in ("", ", memory given back"))], [
        [titles[name], *(f"{cell('rss', 1, **one)}, {cell('private', 1, **one)}" for one in (
            {"module": name, "update": update, "released": released}
            for update in UPDATES for released in (False, True)))] for name in names if name in UPDATED])
