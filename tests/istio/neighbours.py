"""What of Istio is next to the plugin: its own mirror, the labels and limits that a Pod's annotations set."""

import json
import re
import subprocess

import yaml

from changes import ASKED, PLUGIN, USER, adds_up
from checks import check, same, until
from deployed import BOOKINFO, SUBSETS, send
from envoy import ROOT, fetch
from mesh import ADMIN, MERGED
from resources import documents, local
from scenario import mesh, scenario
from tls import IDENTITY

(MIRRORING,) = documents("""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: test }
spec:
  hosts: [reviews]
  http:
  - match:
    - headers: { end-user: { exact: tester } }
    route:
    - destination: { host: reviews, subset: v2 }
    mirrors:
    - destination: { host: mirror, port: { number: 9080 } }
  - match:
    - uri: { prefix: /half }
    route:
    - destination: { host: reviews, subset: v1 }
    mirrors:
    - destination: { host: mirror, port: { number: 9080 } }
      percentage: { value: 50 }
  - route:
    - destination: { host: reviews, subset: v1 }
""")
HALF = 200


def converted(one):
    """What `mirrorctl convert` makes of the VirtualService: the plugin, and the route without its mirrors."""
    file = one.folder / "virtualservice.yaml"
    file.write_text(json.dumps(MIRRORING))
    command = [ROOT / "dist" / "mirrorctl", "convert", "--routes", "--output", "wasmplugin", file]
    return local(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@scenario("Istio's own mirror (`mirrors` of a VirtualService), and what `mirrorctl convert` makes of it")
def own_mirror():
    with mesh(BOOKINFO + SUBSETS + [MIRRORING]) as one, one.proxy("productpage") as proxy:
        own = mirrored(one, proxy)
        same(seen_as(one), {("reviews:9080", "-")}, "authority and marker of Istio's own copies")
        one.apply(*converted(one))
        until(lambda: check(not proxy.metrics() == {}, "no plugin"))
        until(lambda: check("request_mirror_policies" not in str(proxy.dump("dynamic_route_configs")), "Istio mirrors still"))
        ours = mirrored(one, proxy)
        same(ours, own, "what the mirror got")
        same(seen_as(one), {("reviews:9080", "true")}, "authority and marker of our copies")
    return ("the same requests at the mirror, of 50, and 30 % to 70 % of 200 for `percentage: 50`; neither has "
            "`-shadow`, and only the plugin's copies have the marker")


def seen_as(one):
    return {(line.authority, line.marker) for line in one.log.of("mirror")}


def mirrored(one, proxy):
    """Sends requests; returns the paths that the mirror got of those that are all or never mirrored, and how many of the half."""
    one.log.lines.clear()
    for number in range(50):
        user = "tester" if number % 3 else "jason"
        send(proxy, 1, ASKED, f"/{number}", "reviews-v2" if number % 3 else "reviews-v1", {"end-user": user})
    send(proxy, HALF, ASKED, "/half", "reviews-v1")

    def attempt():
        paths = [line.path for line in one.log.of("mirror")]
        half = sum(path.startswith("/half") for path in paths)
        check(0.3 * HALF < half < 0.7 * HALF, f"{half} of {HALF} for half of them")
        always = sorted(path for path in paths if not path.startswith("/half"))
        check(len(always) >= 33, f"{len(always)} of the tester's 33 requests")
        return always

    return until(attempt)


def shown(document, word):
    """The mesh's configuration in the document's block of YAML that has this word: what goes into each proxy's."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    (block,) = [block for block in blocks if word in block]
    return yaml.safe_load(block)["meshConfig"]["defaultConfig"]


SERIES = "traffic_mirror_requests_total"


def names(annotations):
    """The names and labels of the plugin's counter of requests, in a proxy with these annotations, as Prometheus gets them."""
    with mesh(BOOKINFO + [PLUGIN], config={}) as one, one.proxy("productpage", annotations=annotations) as proxy:
        proxy.ask(ASKED, "/", USER)

        def attempt():
            text = fetch(MERGED, "/stats/prometheus", {"accept": "*/*"})[1]
            found = re.findall(r"^(traffic_mirror_\S*requests_total\S*) 1$", text, re.MULTILINE)
            check(found, "no counter of requests")
            return found

        return until(attempt), json.loads(fetch(ADMIN, "/runtime?format=json")[1])["entries"]


@scenario("labels and limits by the Pod's annotations")
def annotations():
    ours = shown("docs/platforms/istio.md", "extraStatTags") | shown("docs/operations.md", "runtimeValues")
    found, runtime = names({"proxy.istio.io/config": yaml.safe_dump(ours)})
    same(found, [f'{SERIES}{{rule="first"}}'], "by proxy.istio.io/config")
    same(runtime["http.async_response_buffer_limit"]["final_value"], "65536", "the limit of responses")
    text = (ROOT / "deploy/istio/stats.yaml").read_text()
    (line,) = re.findall(r"^#\s+(sidecar.istio.io/extraStatTags): (\S+)$", text, re.MULTILINE)
    same(names(dict([line]))[0], [f'{SERIES}{{rule="first"}}'], "by sidecar.istio.io/extraStatTags")
    same(names({})[0], ["traffic_mirror_rule___first___requests_total{}"], "without labels")
    return ("`proxy.istio.io/config` and `sidecar.istio.io/extraStatTags` take the labels out of the names; without them they stay "
            "there; the runtime value is set")


@scenario("`mirrorctl check` of a resource, `mirrorctl stats` of a proxy")
def mirrorctl():
    tool = ROOT / "dist" / "mirrorctl"
    subprocess.run([tool, "check", ROOT / "wasmplugin.yaml"], check=True, capture_output=True)
    with mesh(BOOKINFO + [PLUGIN]) as one, one.proxy("productpage") as proxy:
        send(proxy, 3, "details:9080", "/", "details", USER)
        command = [tool, "stats", "--json", f"127.0.0.1:{ADMIN}"]

        def attempt():
            found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            check(json.loads(found), found)
            check(re.search(r'"sent":\s*3', found), found)

        until(attempt)
    return "it finds nothing wrong, and shows the 3 copies that were sent"


@scenario("mutual TLS: PeerAuthentication STRICT, each workload with a certificate")
def mutual_tls():
    with mesh(BOOKINFO + [PLUGIN], has_tls=True) as one, one.proxy("productpage") as proxy:
        send(proxy, 3, "details:9080", "/", "details", USER)
        adds_up(one, proxy, 3)
        same(one.log.clients, {("details", IDENTITY), ("mirror", IDENTITY)}, "clients")
    return "copies go to the mirror with the sidecar's certificate, as the requests go to the service"
