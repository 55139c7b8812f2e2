"""Changes while requests come: none of them fails, and no copy is uncounted; and configurations that are wrong."""

import copy
import hmac

from checks import check, same, until
from deployed import BOOKINFO, copies, send
from envoy import fetch, is_idle, total
from mesh import ISTIOD
from resources import IMAGE, documents, tagged
from scenario import mesh, scenario
from services import Load

USER = {"end-user": "tester"}
ASKED = "reviews:9080"
(PLUGIN,) = documents("""
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: { name: traffic-mirror, namespace: test }
spec:
  selector: { matchLabels: { app: productpage } }
  type: HTTP
  match: [{ mode: CLIENT }]
  phase: STATS
  failStrategy: FAIL_OPEN
  pluginConfig:
    rules:
    - name: first
      match: [{ headers: { end-user: { exact: tester } } }]
      mirrors: [{ destination: { host: mirror.test.svc.cluster.local, port: { number: 9080 } } }]
""")
PLUGIN["spec"]["url"] = IMAGE
# What pseudonyms are made with.
KEY = "0123456789abcdef"
# How many requests are sent between two changes, at least.
SOME = 200


def plugin(change, url=None):
    """The plugin, after a change of its first rule."""
    changed = copy.deepcopy(PLUGIN)
    change(changed["spec"]["pluginConfig"]["rules"][0])
    if url:
        changed["spec"]["url"] = url
    return changed


def unchanged(_):
    pass


def share(rule):
    rule["mirrors"][0]["percentage"] = 50


def renamed(rule):
    rule["name"] = "second"


def misspelt(rule):
    rule["match"][0]["headers"]["end-user"] = {"exakt": "tester"}


def counts(proxy, name, **labels):
    """Waits until a counter has counted something."""
    def attempt():
        metrics = proxy.metrics()
        check(total(metrics, name, **labels) > 0, f"nothing of {name}, {labels}: {metrics}")

    until(attempt)


def adds_up(one, proxy, requests, ended=None):
    """Waits until each request has matched, and as many copies are counted as the mirror got, each with its response.
    `ended` are the series that are no longer there."""
    def attempt():
        metrics = {**(ended or {}), **proxy.metrics()}
        same(total(metrics, "requests_total"), requests, f"requests, in {metrics}")
        same(total(metrics, "copies_total"), requests, f"outcomes, in {metrics}")
        same(total(metrics, "copies_total", outcome="sent"), len(copies(one, "mirror")), f"copies, in {metrics}")
        check(is_idle(metrics), f"copies without a response: {metrics}")

    until(attempt)


def all_well(load):
    same(set(load.responses), {200}, f"responses of {load.responses}")


@scenario("share, rule and module changed while requests come")
def changed():
    with mesh(BOOKINFO + [PLUGIN]) as one, one.proxy("productpage") as proxy:
        one.registry.push("next", with_a_section(one.registry.module()))
        with Load(one.address(ASKED), "/", {"host": ASKED, **USER}) as load:
            load.pass_by(SOME)
            one.apply(plugin(share))
            counts(proxy, "copies_total", outcome="unsampled")
            load.pass_by(SOME)
            one.apply(plugin(renamed))
            counts(proxy, "requests_total", rule="second")
            load.pass_by(SOME)
            # With the old module, the series of rules end that the new one does not have.
            ended = {name: value for name, value in proxy.metrics().items() if 'rule="first"' in name}
            one.apply(plugin(renamed, tagged("next")))
            until(lambda: check(digest(one, "next") in str(proxy.dump("ecds_filters")), "the new module is not configured"))
            load.pass_by(SOME)
        all_well(load)
        adds_up(one, proxy, load.responses.total(), ended)
    return "no request failed, each is counted, and as many copies as the mirror got"


def with_a_section(module):
    """Another module that does the same: a custom section is added."""
    return module + b"\x00\x05\x04next"


def digest(one, tag):
    """What the agent names the module's file by."""
    return one.registry.tags[tag].removeprefix("sha256:")


@scenario("another module under the same tag")
def same_tag():
    with mesh(BOOKINFO + [PLUGIN]) as one, one.proxy("productpage") as proxy:
        first = one.registry.tags[one.registry.version]
        one.registry.push(one.registry.version, with_a_section(one.registry.module()))
        one.apply(plugin(renamed))
        until(lambda: check("second" in str(proxy.dump("ecds_filters")), "the change is not configured"))
        check(first.removeprefix("sha256:") in str(proxy.dump("ecds_filters")), "another module")
        always = plugin(renamed)
        always["spec"]["imagePullPolicy"] = "Always"
        one.apply(always)
        until(lambda: check(digest(one, one.registry.version) in str(proxy.dump("ecds_filters")), "the old module"))
    return "the agent keeps the module that it has, until `imagePullPolicy: Always`"


@scenario("the plugin deleted while requests come, and put back")
def deleted():
    with mesh(BOOKINFO + [PLUGIN]) as one, one.proxy("productpage") as proxy:
        with Load(one.address(ASKED), "/", {"host": ASKED, **USER}) as load:
            load.pass_by(SOME)
            one.delete(PLUGIN)
            until(lambda: same(copied(one, load), 0, "copies of requests since then"))
            one.apply(PLUGIN)
            until(lambda: check(copied(one, load) > SOME // 2, "no copies again"))
        all_well(load)
    return "no request failed; copies ended, and came again"


def copied(one, load):
    """How many copies came while further requests were sent."""
    before = len(copies(one, "mirror"))
    load.pass_by(SOME)
    return len(copies(one, "mirror")) - before


def rejects():
    """How many configurations proxies have refused, by istiod's count."""
    text = fetch(ISTIOD, "/metrics")[1]
    lines = [line for line in text.splitlines() if line.startswith("pilot_total_xds_rejects{")]
    return sum(float(line.split()[-1]) for line in lines)


@scenario("a wrong configuration while requests come, onInvalid: refuse")
def wrong():
    with mesh(BOOKINFO + [PLUGIN]) as one, one.proxy("productpage") as proxy:
        with Load(one.address(ASKED), "/", {"host": ASKED, **USER}) as load:
            load.pass_by(SOME)
            one.apply(plugin(misspelt))
            until(lambda: check("ADS:ECDS: ACK ERROR productpage" in one.istiod.text(), "no NACK in istiod's log"))
            load.pass_by(SOME)
        all_well(load)
        adds_up(one, proxy, load.responses.total())
        same(rejects(), 1, "pilot_total_xds_rejects")
        check("end-user.exakt" in proxy.text(), "the proxy's log does not name the field")
        check("exakt" not in one.istiod.text(), "istiod's log names the field")
        check("exakt" in str(proxy.dump("ecds_filters")), "/config_dump has the configuration at work")
    return ("NACK, the old one goes on: no request failed, each copied. istiod's log has `ACK ERROR` and the plugin's name, and "
            "counts `pilot_total_xds_rejects`; the proxy's log names the field. `/config_dump` has the refused one")


@scenario("a wrong configuration is the proxy's first, onInvalid: refuse")
def wrong_first():
    with mesh(BOOKINFO + [plugin(misspelt)]) as one, one.proxy("productpage") as proxy:
        same(proxy.ask("details:9080", "/")[0], 500, "a request")
        one.apply(PLUGIN)
        until(lambda: same(proxy.ask("details:9080", "/")[0], 200, "a request after the repair"))
        send(proxy, 3, "details:9080", "/", "details", USER)
        until(lambda: same(len(copies(one, "mirror")), 3, "copies"))
    return "the proxy is ready, and every request that it sends gets 500, until the configuration is repaired"


def kept(change):
    """The plugin, after a change, with `onInvalid: keepLast`."""
    changed = plugin(change)
    changed["spec"]["pluginConfig"]["onInvalid"] = "keepLast"
    return changed


def is_invalid(proxy, wanted):
    """Waits until the gauge says so."""
    def attempt():
        metrics = proxy.metrics()
        same(sum(value for name, value in metrics.items() if "invalid_configuration" in name), wanted, f"the gauge, in {metrics}")

    until(attempt)


@scenario("a wrong configuration while requests come, onInvalid: keepLast")
def wrong_kept():
    with mesh(BOOKINFO + [kept(unchanged)]) as one, one.proxy("productpage") as proxy:
        with Load(one.address(ASKED), "/", {"host": ASKED, **USER}) as load:
            load.pass_by(SOME)
            one.apply(kept(misspelt))
            is_invalid(proxy, 1)
            load.pass_by(SOME)
            one.apply(kept(unchanged))
            is_invalid(proxy, 0)
            load.pass_by(SOME)
        all_well(load)
        adds_up(one, proxy, load.responses.total())
        same(rejects(), 0, "pilot_total_xds_rejects")
        check("end-user.exakt" in proxy.text(), "the proxy's log does not name the field")
    return ("accepted, and the old one goes on: no request failed, each copied. `invalid_configuration` is 1 until the repair; "
            "the proxy's log names the field")


@scenario("a wrong configuration is the proxy's first, onInvalid: keepLast")
def wrong_first_kept():
    with mesh(BOOKINFO + [kept(misspelt)]) as one, one.proxy("productpage") as proxy:
        send(proxy, SOME, "details:9080", "/", "details", USER)
        is_invalid(proxy, 1)
        same(copies(one, "mirror"), [], "copies")
        one.apply(kept(unchanged))
        is_invalid(proxy, 0)
        send(proxy, 3, "details:9080", "/", "details", USER)
        until(lambda: same(len(copies(one, "mirror")), 3, "copies"))
    return "requests pass without copies, and `invalid_configuration` is 1, until the configuration is repaired"


@scenario("`redact` with pseudonyms, the key by `vmConfig.env` with `valueFrom: HOST`")
def pseudonyms():
    hidden = plugin(lambda rule: rule["mirrors"][0].update(redact={"headers": ["authorization"], "with": "pseudonym"}))
    hidden["spec"]["vmConfig"] = {"env": [{"name": "TRAFFIC_MIRROR_KEY", "valueFrom": "HOST"}]}
    expected = "p_" + hmac.new(KEY.encode(), b"secret", "sha256").hexdigest()[:16]
    with mesh(BOOKINFO + [hidden]) as one, one.proxy("productpage", env={"TRAFFIC_MIRROR_KEY": KEY}) as proxy:
        for _ in range(3):
            same(proxy.ask(ASKED, "/", {**USER, "authorization": "secret"})[0], 200, "a request")
        until(lambda: same([copy.authorization for copy in copies(one, "mirror")], [expected] * 3, "credentials of copies"))
        check(KEY not in proxy.text() + str(proxy.dump("ecds_filters")), "the key is in the log or in a dump")
    return "each copy has the credentials' pseudonym; the key is in no log and no dump"
