"""How the agent gets the module, and what an operator sees where it does not."""

import hashlib

from checks import check, same, until
from deployed import BOOKINFO, copies, send, settled
from envoy import fetch
from mesh import MERGED
from resources import IMAGE, read, tagged
from scenario import mesh, scenario

USER = {"end-user": "tester"}


def plugin(one, **fields):
    """wasmplugin.yaml with other fields."""
    (file,) = read("wasmplugin.yaml")
    one.apply({**file, "spec": {**file["spec"], **fields}})


def ask(one, proxy):
    send(proxy, 3, "reviews:9080", "/", "reviews-v1", USER, address=(one.pod("reviews-v1").ip, 9080))


def fetched(result):
    """Waits until the agent counts this result of a fetch, which is how a Prometheus sees it."""
    def attempt():
        text = fetch(MERGED, "/stats/prometheus", {"accept": "*/*"})[1]
        lines = [line for line in text.splitlines() if line.startswith("istio_agent_wasm_remote_fetch_count")]
        check(any(f'result="{result}"' in line for line in lines), f"no {result} in {lines}")

    until(attempt)


def holds(**fields):
    """The plugin with these fields mirrors."""
    with mesh(BOOKINFO) as one:
        plugin(one, **{name: value(one.registry) for name, value in fields.items()})
        with one.proxy("reviews-v1") as proxy:
            ask(one, proxy)
            same(settled(one, proxy, 3, "mirror"), 3, "copies")
            fetched("success")
        # The agent does not mind today; the specification wants it.
        same(one.registry.manifest["annotations"].get("module.wasm.image/variant"), "compat", "variant of the image")


def by_digest(registry):
    return f"{IMAGE.rpartition(':')[0]}@{registry.tags[registry.version]}"


@scenario("the image of `make image`, by tag, by digest, by tag and `sha256`")
def image():
    holds()
    holds(url=by_digest)
    holds(sha256=lambda registry: registry.tags[registry.version].removeprefix("sha256:"))
    return "pulled by the agent, and copies sent; `sha256` is the image's digest, which `make image` prints"


def misses(result, log, then=lambda one, proxy: None, **fields):
    """The plugin with these fields is not there, and requests go on without it; and what comes then."""
    with mesh(BOOKINFO) as one:
        plugin(one, **{name: value(one.registry) for name, value in fields.items()})
        with one.proxy("reviews-v1") as proxy:
            ask(one, proxy)
            fetched(result)
            same(proxy.metrics(), {}, "metrics of a plugin that is not there")
            same(copies(one, "mirror"), [], "copies")
            check("cannot fetch Wasm module" in proxy.text() and log in proxy.text(), f"not in the proxy's log: {log}")
            then(one, proxy)


def pushed(one, proxy):
    """The tag is pushed, and the resource changed."""
    one.registry.push("none", one.registry.module())
    plugin(one, url=tagged("none"), priority=11)
    until(lambda: check(proxy.metrics(), "the plugin is not there"))
    ask(one, proxy)
    same(settled(one, proxy, 3, "mirror"), 3, "copies")


@scenario("a tag that is not there, FAIL_OPEN")
def wrong_tag():
    misses("manifest_failure", "MANIFEST_UNKNOWN", then=pushed, url=lambda _: tagged("none"))
    return ("requests pass, no copies; the proxy's log says `MANIFEST_UNKNOWN`, the agent counts `manifest_failure`. Once the tag "
            "is there and the resource changed, copies are sent")


@scenario("a wrong `sha256`, the module file's own among them, FAIL_OPEN")
def wrong_sha256():
    log = "which does not match"
    misses("checksum_mismatched", log, sha256=lambda registry: "0" * 64)
    misses("checksum_mismatched", log, sha256=lambda registry: hashlib.sha256(registry.module()).hexdigest())
    return "requests pass, no copies; the log names both sums, the agent counts `checksum_mismatched`"


@scenario("a tag that is not there, FAIL_CLOSE")
def fail_close():
    with mesh(BOOKINFO) as one:
        plugin(one, failStrategy="FAIL_CLOSE", url=tagged("none"))
        with one.proxy("reviews-v1") as proxy:
            status, _ = proxy.ask("reviews:9080", "/", USER, (one.pod("reviews-v1").ip, 9080))
            same(status, 403, "a request")
    return "403 to every request: the reason for FAIL_OPEN"
