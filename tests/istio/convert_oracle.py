"""Holds what `mirrorctl convert` makes of routes against the mirrors that istiod makes of them, in a real Envoy.

Usage: tests/istio/run convert_oracle.py [--corpus [NAME...]] [--shares N] [--sets N] [--seed N] [--shrink]
"""

import argparse
import collections
import copy
import dataclasses
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

import yaml

from checks import check
from envoy import ROOT, Failure
from mesh import BUILT
from oracle import corpus, shares, told, twins, world
from oracle.sets import Set, requests

MIRRORCTL = os.environ.get("MIRRORCTL", str(ROOT / "dist" / "mirrorctl"))
# Sets that share an Envoy.
BATCH = 60


class Istiod:
    """istiod's own way from resources to routes."""

    def __init__(self, folder):
        with open(folder / "istiod.log", "w") as log:
            self.process = subprocess.Popen([BUILT / "control-plane", "-routes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log, text=True, cwd=folder,
                                            env={**os.environ, "PILOT_ENABLE_METADATA_EXCHANGE": "false",
                                                 "PILOT_ENABLE_ALPN_FILTER": "false"})

    def routes(self, documents):
        """The routes by proxy."""
        self.process.stdin.write(world.wanted_of_istiod(documents) + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        if "error" in found:
            raise Refused(found["error"])
        return found["proxies"]

    def stop(self):
        self.process.kill()
        self.process.wait()


class Refused(Exception):
    """istiod does not take the documents."""


def parents(document):
    """The Gateways, by namespace and name, and the mesh as None, that a route is for."""
    namespace = document["metadata"].get("namespace", "default")
    spec = document.get("spec", {})
    if document["kind"] == "VirtualService" and "hosts" in spec:
        for name in spec.get("gateways") or ["mesh"]:
            yield None if name == "mesh" else name if "/" in name else f"{namespace}/{name}"
    for parent in spec.get("parentRefs", []) if document["kind"] in ("HTTPRoute", "GRPCRoute") else []:
        is_service = parent.get("kind") == "Service"
        yield None if is_service else f"{parent.get('namespace', namespace)}/{parent['name']}"


def options(documents, proxy):
    """What convert is asked for the proxy; None: no route is for it."""
    named = {parent for document in documents for parent in parents(document)}
    if not proxy.is_gateway:
        return ["--mesh"] if None in named else None
    own = [document for document in documents if document["kind"] == "Gateway" and proxy.selects(document)]
    own = sorted({"/".join(world.key_of(document)) for document in own} & named)
    return [word for name in own for word in ("--gateway", name)] or None


def convert(documents, proxy, folder):
    """What `mirrorctl convert` makes of them: configurations and their ports, none for all of them; and what it says."""
    chosen = options(documents, proxy)
    if chosen is None:
        return [], ""
    file = folder / "documents.yaml"
    everything = [*documents, *world.services(documents), *world.namespaces(documents)]
    file.write_text("\n---\n".join(json.dumps(document) for document in everything))
    done = subprocess.run([MIRRORCTL, "convert", *chosen, file], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr if done.returncode else done.stderr
    if done.returncode:
        return [], said
    found = [(ports_of(text), yaml.safe_load(text)) for text in done.stdout.split("\n---\n")]
    check(len(found) == 1 or all(ports for ports, _ in found), f"configurations for {proxy.name}, {chosen}:\n{done.stdout}")
    return found, said


def ports_of(text):
    """The ports that a comment before a configuration names."""
    named = re.match(r"# For .*, ports? ([0-9 and]+)\.$", text, re.MULTILINE)
    return {int(port) for port in named[1].split(" and ")} if named else set()


def convert_all(documents, folder):
    """What it says of all of them, and whether that is an error."""
    file = folder / "documents.yaml"
    file.write_text("\n---\n".join(json.dumps(one) for one in [*documents, *world.services(documents), *world.namespaces(documents)]))
    done = subprocess.run([MIRRORCTL, "convert", file], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr or done.stdout


def tables(one, istiod, folder):
    """The tables of a set; each with what convert says of it."""
    found = []
    routes = istiod.routes(one.documents)
    converted = {}
    for proxy in world.PROXIES:
        chosen = str(options(one.documents, proxy))
        if chosen not in converted:
            converted[chosen] = convert(one.documents, proxy, folder)
        plugins, said = converted[chosen]
        for table in routes.get(proxy.name, []):
            table.pop("vhds", None)
            port = int(table["name"].partition("http.")[2] or 0)
            plugin = next((plugin for ports, plugin in plugins if not ports or port in ports), None)
            if "requestMirrorPolicies" not in json.dumps(table) and not plugin:
                continue
            here, anywhere = domains(table), {name for other in routes[proxy.name] for name in domains(other)}
            asked = [request for request in one.requests(proxy.is_gateway)
                     if (proxy.is_gateway or is_served(request["host"], here) or not is_served(request["host"], anywhere))
                     and not is_elsewhere(request["host"], proxy, table)]
            made = twins.Table(f"{proxy.name} {table['name']}", table, plugin, asked)
            found.append((made, proxy, said))
    return found


def domains(table):
    return {domain for host in table.get("virtualHosts", []) for domain in host["domains"]} - {"*"}


def is_served(host, names):
    """Whether a host is one of these domains. Who asks for it on a port that it does not have is out of scope: the plugin does not
    know the port."""
    name = host.lower().partition(":")[0]
    return any(name == domain or domain.startswith("*") and name.endswith(domain[1:]) for domain in names)


def is_elsewhere(host, proxy, table):
    """Whether a host is none for this proxy's clients: the short name of another namespace's Service, or a Service without the port
    that the table is for, though istiod may have a route of it there."""
    name = host.lower().partition(":")[0]
    for (space, own), ports in world.SERVICES.items():
        if name == f"{own}.{space}" or name.startswith(f"{own}.{space}.svc") or name == own and space == proxy.namespace:
            return not proxy.is_gateway and table["name"].isdigit() and int(table["name"]) not in ports
    return name in {name for _, name in world.SERVICES} and (proxy.namespace, name) not in world.SERVICES


@dataclasses.dataclass
class Found:
    """A difference, and what convert said."""

    difference: twins.Difference
    said: list


class Totals(collections.Counter):
    def line(self):
        return ", ".join(f"{count} {what}" for what, count in sorted(self.items()))


def batch(sets, istiod, upstreams, folder, totals):
    """Compares some sets; returns each that differs, with its differences: those in silence, and those that convert has told of."""
    all_tables, owners = [], []
    for one in sets:
        try:
            found = tables(one, istiod, folder)
        except Refused as error:
            totals["sets refused by istiod"] += 1
            one.refused = str(error)
            continue
        totals[one.kind] += 1
        totals["tables"] += len(found)
        for made, *rest in found:
            all_tables.append(made)
            owners.append((one, *rest))
    if not all_tables:
        return []
    differences, sent, copies = twins.compare(all_tables, upstreams, folder)
    totals["requests"] += sent
    totals["copies"] += copies
    wrong = {}
    for difference in differences:
        one, proxy, said = owners[next(index for index, table in enumerate(all_tables) if table is difference.table)]
        wrong.setdefault(id(one), (one, [], []))
        is_told = told.explains(said.splitlines(), one.documents, proxy, difference.request)
        wrong[id(one)][2 if is_told else 1].append(Found(difference, said.splitlines()))
    return list(wrong.values())


class Written:
    """A set of documents that is given."""

    kind = "smaller sets"

    def __init__(self, documents, draw, seed=None):
        self.documents, self.random, self.seed = documents, draw, seed

    def requests(self, is_gateway, count=60):
        return requests(self.random, self.documents, is_gateway, count)


# Lists of which documents lose one item after the other, where a smaller set is looked for.
LISTS = {"hosts", "gateways", "http", "match", "mirrors", "rules", "matches", "filters", "parentRefs", "hostnames", "servers", "listeners"}
FIELDS = {"rewrite", "headers", "timeout", "withoutHeaders", "queryParams", "method", "uri", "authority", "sectionName",
          "mirrorPercentage", "percentage", "ignoreUriCase", "scheme", "path", "mirror", "creationTimestamp"}


def smaller(documents):
    """Each set that is one step smaller."""
    for index in range(len(documents)):
        yield documents[:index] + documents[index + 1:]
    for index, document in enumerate(documents):
        for path in paths(document):
            changed = copy.deepcopy(documents)
            place = changed[index]
            for step in path[:-1]:
                place = place[step]
            del place[path[-1]]
            yield changed


def paths(tree, path=()):
    """What may go."""
    for key, value in list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []:
        if isinstance(tree, list) and len(tree) > 1 and path[-1] in LISTS or key in FIELDS and path != ("metadata",) and len(path) > 1:
            yield (*path, key)
        yield from paths(value, (*path, key))


def shrink(one, istiod, upstreams, folder):
    """The smallest set that still differs in silence, and its differences; None: only the set itself does."""
    last = None
    while True:
        candidates = [Written(documents, random.Random(one.seed), one.seed) for documents in smaller(one.documents)]
        for start in range(0, len(candidates), 12):
            wrong = batch(candidates[start:start + 12], istiod, upstreams, folder, Totals())
            silent = [found for found in wrong if found[1]]
            if silent:
                last, one = silent[0], silent[0][0]
                break
        else:
            return last


def show(one, differences):
    print(f"---- seed {one.seed}: {len(differences)} requests differ")
    for found in differences[:3]:
        difference = found.difference
        print(f"  {difference.table.title}: {difference.request}\n    istiod:  {difference.native}\n    convert: {difference.plugin}")
    for line in differences[0].said[:6]:
        print(f"  said: {line}")


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--corpus", nargs="*", metavar="NAME", help="the written documents, all or these")
    parser.add_argument("--shares", type=int, default=0, help="sets of which copies are counted")
    parser.add_argument("--show", type=int, default=5)
    chosen = parser.parse_args(arguments)
    print(f"seed {chosen.seed}", flush=True)
    totals, silent, words = Totals(), [], collections.Counter()
    documents = sorted((ROOT / "tests" / "istio" / "corpus").glob("*.yaml")) if chosen.corpus is not None else []
    documents = [file for file in documents if not chosen.corpus or file.stem in chosen.corpus]
    failed = []
    with tempfile.TemporaryDirectory(prefix="traffic-mirror-oracle-") as name:
        folder = pathlib.Path(name)
        istiod = Istiod(folder)
        try:
            with twins.Upstreams(folder) as upstreams:
                for start in range(0, len(documents), BATCH):
                    failed += corpus.failures(documents[start:start + BATCH], istiod, upstreams, folder, totals, batch, convert_all)
                if chosen.shares:
                    failed += shares.failures(chosen.seed, chosen.shares, lambda one: tables(one, istiod, folder), upstreams, folder, totals)
                    print(f"{time.strftime('%H:%M:%S')} {totals.line()}", flush=True)
                for line in failed:
                    print(f"FAIL  {line}", flush=True)
                for start in range(chosen.seed, chosen.seed + chosen.sets, BATCH):
                    some = [Set(seed) for seed in range(start, min(start + BATCH, chosen.seed + chosen.sets))]
                    new = []
                    for found in batch(some, istiod, upstreams, folder, totals):
                        one, in_silence, explained = found
                        totals[f"sets that differ, {'silent' if in_silence else 'told'}"] += 1
                        if in_silence:
                            new.append((one, in_silence))
                        for line in {line for one in explained for line in one.said if told.may_explain(line)}:
                            words[re.sub(r"^.*?documents.yaml[^ ]* [^:]*: [^:]*: ", "", line)[:200]] += 1
                    print(f"{time.strftime('%H:%M:%S')} {totals.line()}", flush=True)
                    for found in new[:max(chosen.show - len(silent), 0)]:
                        show(*found)
                        if chosen.shrink:
                            least = shrink(found[0], istiod, upstreams, folder) or found
                            print("smallest:")
                            show(*least[:2])
                            print(yaml.safe_dump_all(least[0].documents, sort_keys=False, default_flow_style=None))
                    silent += new
        except BaseException:
            print((folder / "istiod.log").read_text()[-3000:])
            raise
        finally:
            istiod.stop()
    wrong = silent + failed
    for word, count in words.most_common(30):
        print(count, word)
    passed = totals["sets"] + len(documents) + chosen.shares - len(wrong)
    print(f"test result: {'FAILED' if wrong else 'ok'}. {passed} passed; {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
