"""Whether what convert says explains that a request is mirrored in another way than Istio does it."""

import re

from oracle import sets, world

# What explains no difference.
HARMLESS = re.compile("without a timeout wait for ever|which of a prefix and an expression|takes the older of two for one host")
# What explains those of one host, or of clients in some namespaces.
SHORT = re.compile("mean another Service by ([^,]+),")
OLDER = re.compile("but for clients in ([^,]+),")
SEEN = re.compile(r"(?:only clients in (.*) see the VirtualService|the plugin is for clients in (.*) alone)")
# The document that a line is about.
DOCUMENT = re.compile(r"document \d+ \((\w+) ([^)/]+)/([^)]+)\): ")


def may_explain(line):
    return not HARMLESS.search(line)


def explains(said, documents, proxy, request):
    """Whether one of these lines is about such a request to a proxy."""
    host = request["host"].lower().partition(":")[0]
    return any(is_about(line, documents, proxy, host) for line in said if may_explain(line))


def is_about(line, documents, proxy, host):
    if short := SHORT.search(line):
        return short[1] == host
    if older := OLDER.search(line):
        if older[1] != proxy.namespace or proxy.is_gateway:
            return False
    elif seen := SEEN.search(line):
        # Those who do not see it mirror nothing of it; those who do take it before what all see.
        if proxy.is_gateway:
            return False
    found = DOCUMENT.search(line)
    hosts = [host for document in documents if found and (document["kind"], *world.key_of(document)) == found.groups()
             for host in hosts_of(document)]
    return not found or any(is_of(host, domain) for domain in hosts)


def hosts_of(document):
    """The hosts that a route is for, each way to write them."""
    spec = document["spec"]
    namespace = document["metadata"]["namespace"]
    parents = [parent for parent in spec.get("parentRefs", []) if parent.get("kind") == "Service"]
    own = [f"{parent['name']}.{parent.get('namespace', namespace)}.{world.DOMAIN}" for parent in parents]
    own = own or spec.get("hosts") or spec.get("hostnames") or ["*"]
    return {name for host in own for name in ([host] if "*" in host else sets.names_of(host if "." in host else f"{host}.{namespace}.{world.DOMAIN}"))}


def is_of(host, domain):
    return host == domain.lower() or domain.startswith("*") and host.endswith(domain[1:].lower())
