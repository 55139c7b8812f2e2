"""Random sets of documents with mirrors, and requests that hit and miss their routes. A seed makes the same set again."""

import random

from oracle.world import DOMAIN, SERVICES

HOSTS = ["x.test", "y.test", "a.x.test", "*.x.test", "*.test", "*"]
NAMES = ["x.test", "y.test", "a.x.test", "b.a.x.test", "other.test", "elsewhere"]
URIS = [{"exact": "/y"}, {"exact": "/z"}, {"prefix": "/"}, {"prefix": "/y"}, {"prefix": "/y/"}, {"prefix": "/z"}, {"regex": ".*"},
        {"regex": "/.*"}, {"regex": "/y.*"}, {"regex": "/[yz]"}, {"prefix": ""}, {"exact": ""}]
PATHS = ["/", "/y", "/y/", "/y/q", "/yq", "/z", "/Z", "/z/q", "/q", "/y?v=1", "/z?v=2", "/?v=1&w=", "/q?w"]
TESTS = [{"exact": "1"}, {"prefix": "1"}, {"regex": "[12]"}, {"regex": ".*"}, {}]
VALUES = ["1", "2", "12", "", None, None]
MIRRORS = [key for key in SERVICES if key[1].startswith("m")]
BACKENDS = [key for key in SERVICES if not key[1].startswith("m")]
REGEX_WORDS = {".*": "/q", "/.*": "/", "/y.*": "/yq", "/[yz]": "/z"}


class Set:
    """A set of documents, and the requests to try."""

    kind = "sets"

    def __init__(self, seed):
        self.seed, self.random = seed, random.Random(seed)
        self.documents, self.ages = [], list(range(100))
        self.random.shuffle(self.ages)
        self.fill()

    def chance(self, share):
        return self.random.random() < share

    def one(self, choices):
        return self.random.choice(choices)

    def some(self, choices, most):
        return self.random.sample(choices, self.random.randint(1, min(most, len(choices))))

    def add(self, kind, namespace, name, spec, api="networking.istio.io/v1"):
        metadata = {"name": name, "namespace": namespace,
                    "creationTimestamp": f"2026-01-01T00:{self.ages.pop() % 60:02}:00Z"}
        self.documents.append({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec})

    def fill(self):
        self.gateways, self.parents = [], []
        kinds = self.one(["istio", "istio", "mesh", "mesh", "both", "api", "gamma", "all"])
        if kinds in ("istio", "both", "all"):
            self.add_gateways()
        if kinds in ("api", "all"):
            self.add_parents()
        if kinds in ("gamma", "all"):
            self.parents += [{"group": "", "kind": "Service", "name": name, "namespace": namespace}
                             for namespace, name in SERVICES
                             if not name.startswith("m")][:3]
        for number in range(self.random.randint(1, 4) if kinds not in ("api", "gamma") else 0):
            self.add_virtual_service(number, kinds)
        for number in range(self.random.randint(1, 4) if self.parents else 0):
            self.add_http_route(number)

    # ---- gateways

    def add_gateways(self):
        for number in range(self.random.randint(1, 3)):
            namespace, name = self.one(["a", "b", "istio-system"]), f"gw{number}"
            ports = self.one([[80], [80], [80], [80, 8080]])
            prefixes = ["", "", "", "", "*/", "./", "a/", "b/"]
            servers = [{"port": {"number": port, "name": f"http-{port}", "protocol": "HTTP"},
                        "hosts": [self.one(prefixes) + host for host in self.some(HOSTS, 3)]}
                       for port in ports]
            self.add("Gateway", namespace, name, {"selector": {"istio": self.one(["edge", "inner"])}, "servers": servers})
            self.gateways.append((namespace, name))
        # Where the workloads of the gateways are.
        for name, namespace in [("edge", "istio-system"), ("inner", "b")]:
            self.add("Deployment", namespace, name, {"template": {"metadata": {"labels": {"istio": name}}}}, "apps/v1")

    def add_parents(self):
        for namespace, name in self.some([("a", "web"), ("b", "web2")], 2):
            listeners = []
            hosts = self.some(["x.test", "*.x.test", "*.test", None], 2)
            for number, host in enumerate(hosts):
                listener = {"name": f"l{number}", "port": 80, "protocol": "HTTP",
                            "allowedRoutes": {"namespaces": {"from": self.one(["All", "All", "Same"])}}}
                listeners.append({**listener, **({"hostname": host} if host else {})})
                parent = {"name": name, "namespace": namespace}
                self.parents += [parent, {**parent, "sectionName": listener["name"]}]
            self.add("Gateway", namespace, name, {"gatewayClassName": "istio", "listeners": listeners},
                     "gateway.networking.k8s.io/v1")

    # ---- VirtualServices

    def add_virtual_service(self, number, kinds):
        namespace = self.one(["a", "b"])
        own = [key for key in self.gateways]
        chosen = []
        if own:
            chosen = [f"{space}/{name}" if space != namespace or self.chance(0.5) else name
                      for space, name in self.some(own, 2)]
        if kinds == "mesh":
            chosen = self.one([[], ["mesh"]])
        elif kinds != "istio" and self.chance(0.4):
            chosen = self.one([[], ["mesh"], ["mesh", *chosen]])
        in_mesh = not chosen or "mesh" in chosen
        services = [f"{name}.{space}.{DOMAIN}" for space, name in BACKENDS] + ["shop", "solo" if namespace == "b" else "cart"]
        choices = [host for host in HOSTS if host != "*"] if in_mesh else HOSTS
        if in_mesh and self.chance(0.7):
            choices = services
        hosts = self.some(choices, 2)
        if any("*" in host for host in hosts):
            hosts = hosts[:1]
        spec = {"hosts": hosts, **({"gateways": chosen} if chosen else {}),
                "http": [self.http(namespace, index, in_mesh) for index in range(self.random.randint(1, 4))]}
        if not in_mesh and self.chance(0.15):
            self.delegate(namespace, number, spec)
        if self.chance(0.15):
            spec["exportTo"] = self.one([["."], ["*"], ["a"], ["b"], ["istio-system"], [".", "istio-system"]])
        self.add("VirtualService", namespace, f"vs{number}", spec)

    def delegate(self, namespace, number, spec):
        self.add("VirtualService", namespace, f"part{number}", {"http": [self.http(namespace, 0, False), self.http(namespace, 1, False)]})
        root = {"match": [{"uri": {"prefix": self.one(["/y", "/"])}}]} if self.chance(0.7) else {}
        spec["http"][self.random.randrange(len(spec["http"]))] = {**root, "delegate": {"name": f"part{number}", "namespace": namespace}}

    def http(self, namespace, index, in_mesh):
        route = {}
        if self.chance(0.3):
            route["name"] = f"r{index}"
        if self.chance(0.75):
            route["match"] = [self.match() for _ in range(self.one([1, 1, 1, 2, 3]))]
        kind = self.one(["route"] * 10 + ["redirect", "direct"])
        if kind == "redirect":
            return {**route, "redirect": {"uri": "/elsewhere"}}
        if kind == "direct":
            return {**route, "directResponse": {"status": 418}}
        space, name = self.one(BACKENDS)
        route["route"] = [{"destination": {"host": f"{name}.{space}.{DOMAIN}", "port": {"number": SERVICES[space, name][0]}}}]
        if self.chance(0.1):
            route["route"][0]["headers"] = {"request": {"set": {"x-set": "destination"}}}
        if self.chance(0.2):
            route["rewrite"] = self.one([{"uri": "/new"}, {"uri": "/"}, {"authority": "new.test"}, {"uri": "/n/", "authority": "new.test"},
                                         {"uriRegexRewrite": {"match": "/(.)", "rewrite": "/n\\1"}}])
        if self.chance(0.15):
            route["headers"] = {"request": self.one([{"set": {"x-set": "route"}}, {"add": {"x-add": "route"}}, {"remove": ["x-a"]},
                                                     {"set": {"x-a": "9"}, "add": {"x-add": "route"}}])}
        if self.chance(0.3):
            route["timeout"] = "3s"
        if self.chance(0.7):
            self.mirror(route, namespace, in_mesh)
        return route

    def mirror(self, route, namespace, in_mesh):
        def destination():
            space, name = self.one(MIRRORS)
            port = SERVICES[space, name][0]
            host = name if space == namespace and self.chance(0.5) else f"{name}.{space}.{DOMAIN}"
            return {"host": host, **({"port": {"number": port}} if in_mesh or self.chance(0.7) else {})}

        if self.chance(0.5):
            route["mirror"] = destination()
            if self.chance(0.5):
                route[self.one(["mirrorPercentage"] * 3 + ["mirror_percentage"])] = self.one([{"value": 100}, {"value": 0}, {}])
        else:
            route["mirrors"] = [{"destination": destination(), **self.one([{}, {"percentage": {"value": 100}},
                                                                             {"percentage": {"value": 0}}])}
                                for _ in range(self.one([1, 2]))]

    def match(self):
        match = {}
        if self.chance(0.75):
            match["uri"] = self.one(URIS)
            if self.chance(0.1):
                match["ignoreUriCase"] = True
        if self.chance(0.3):
            match["headers"] = {name: self.one(TESTS) for name in self.some(["x-a", "x-b"], 2)}
        if self.chance(0.1):
            match["withoutHeaders"] = {"x-b": self.one(TESTS)}
        if self.chance(0.1):
            match["queryParams"] = {"v": self.one([{"exact": "1"}, {"regex": "[12]"}, {"prefix": "1"}])}
        if self.chance(0.1):
            match["method"] = self.one([{"exact": "POST"}, {"regex": "P.*"}])
        if self.chance(0.05):
            match["authority"] = self.one([{"exact": "x.test"}, {"prefix": "a."}, {"regex": ".*x.test"}])
        if self.chance(0.05):
            match["scheme"] = {"exact": self.one(["http", "https"])}
        return match

    # ---- HTTPRoutes

    def add_http_route(self, number):
        namespace = self.one(["a", "b"])
        parents = self.some(self.parents, 2)
        if any(parent.get("kind") == "Service" for parent in parents):
            # As most have it: a route of a Service is in the Service's namespace.
            parents = [parent for parent in parents if parent.get("kind") == "Service"][:1]
            namespace = parents[0]["namespace"]
        spec = {"parentRefs": parents, "rules": [self.rule(namespace) for _ in range(self.random.randint(1, 3))]}
        if self.chance(0.6):
            spec["hostnames"] = self.some(["x.test", "a.x.test", "*.x.test", "y.test"], 2)
        self.add("HTTPRoute", namespace, f"route{number}", spec, "gateway.networking.k8s.io/v1")

    def rule(self, namespace):
        names = [name for space, name in BACKENDS if space == namespace]
        backend = lambda name: {"name": name, "port": SERVICES[namespace, name][0]}
        rule = {"backendRefs": [backend(self.one(names))]}
        if self.chance(0.8):
            rule["matches"] = [self.rule_match() for _ in range(self.one([1, 1, 2]))]
        filters = []
        if self.chance(0.2):
            filters.append({"type": "RequestHeaderModifier", "requestHeaderModifier": self.one(
                [{"set": [{"name": "x-set", "value": "rule"}]}, {"remove": ["x-a"]}, {"add": [{"name": "x-add", "value": "rule"}]}])})
        if self.chance(0.15):
            paths = [{"type": "ReplaceFullPath", "replaceFullPath": "/full"}]
            if all(match.get("path", {}).get("type", "PathPrefix") == "PathPrefix" for match in rule.get("matches", [])):
                paths += [{"type": "ReplacePrefixMatch", "replacePrefixMatch": new} for new in ("/new", "/")]
            filters.append({"type": "URLRewrite", "urlRewrite": self.one([{"hostname": "new.test"}, {"path": self.one(paths)}])})
        for _ in range(self.one([0, 1, 1, 2])):
            mirror = {"backendRef": backend(self.one([name for space, name in MIRRORS if space == namespace]))}
            mirror.update(self.one([{}, {}, {"percent": 100}, {"percent": 0}, {"fraction": {"numerator": 1, "denominator": 1}}]))
            filters.append({"type": "RequestMirror", "requestMirror": mirror})
        if self.chance(0.05):
            rule = {key: value for key, value in rule.items() if key == "matches"}
            filters = [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301, "hostname": "else.test"}}]
        self.random.shuffle(filters)
        return {**rule, **({"filters": filters} if filters else {})}

    def rule_match(self):
        match = {}
        if self.chance(0.75):
            match["path"] = self.one([{"type": "PathPrefix", "value": "/"}, {"type": "PathPrefix", "value": "/y"},
                                      {"type": "PathPrefix", "value": "/y/q"}, {"type": "Exact", "value": "/y"},
                                      {"type": "Exact", "value": "/z"}, {"type": "RegularExpression", "value": "/[yz]"},
                                      {"value": "/z"}])
        if self.chance(0.3):
            match["headers"] = [{"name": name, **self.one([{"value": "1"}, {"type": "RegularExpression", "value": "[12]"}])}
                                for name in self.some(["x-a", "x-b"], 2)]
        if self.chance(0.15):
            match["queryParams"] = [{"name": "v", "value": "1"}]
        if self.chance(0.15):
            match["method"] = self.one(["GET", "POST"])
        return match

    # ---- requests

    def requests(self, is_gateway, count=30):
        """Requests for a proxy: those that routes ask for, and any."""
        return requests(self.random, self.documents, is_gateway, count)


def requests(draw, documents, is_gateway, count):
    wanted, hosts = [], set()
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] in ("VirtualService", "HTTPRoute"):
            hosts.update(spec.get("hosts", spec.get("hostnames", [])))
            routes = spec.get("http", spec.get("rules", []))
            for route in routes if isinstance(routes, list) else []:
                wanted += route.get("match", route.get("matches", [])) or [{}]
        for server in spec.get("servers", []) + spec.get("listeners", []) if document["kind"] == "Gateway" else []:
            hosts.update(host.rpartition("/")[2] for host in server.get("hosts", [server.get("hostname", "*")]))
    names = sorted({name for host in hosts for name in names_of(host)} | {"x.test", "elsewhere"})
    if not is_gateway:
        names += [name for space, name in BACKENDS] + [f"{name}.{space}.{DOMAIN}" for space, name in BACKENDS]
    made = []
    for number in range(count):
        request = {"method": draw.choice(["GET", "GET", "GET", "POST"]), "path": draw.choice(PATHS), "host": draw.choice(names),
                   "headers": {name: value for name in ("x-a", "x-b") if (value := draw.choice(VALUES)) is not None}}
        if wanted and number % 3:
            aim(draw, request, draw.choice(wanted))
        if draw.random() < 0.15:
            request["host"] = draw.choice([f"{request['host']}:8080", request["host"].upper()])
        made.append(request)
    return made


def names_of(host):
    """What a host stands for."""
    if host == "*":
        return ["any.test"]
    if host.startswith("*"):
        return [f"w{host[1:]}", f"a.b{host[1:]}"]
    name, _, rest = host.partition(f".{DOMAIN}")
    return [host, name, name.partition(".")[0]] if host.endswith(DOMAIN) else [host]


def aim(draw, request, match):
    """Lets a request be what a match asks for, as far as that is simple."""
    uri = match.get("uri") or match.get("path") or {}
    value = uri.get("value") if "value" in uri else next(iter(uri.values()), None)
    if isinstance(value, str):
        is_regex = "regex" in uri or uri.get("type") == "RegularExpression"
        path = REGEX_WORDS.get(value, "/z") if is_regex else value
        request["path"] = path + (draw.choice(["", "q", "/q"]) if not is_regex and "exact" not in uri and uri.get("type") != "Exact" else "")
        request["path"] = request["path"] if request["path"].startswith("/") else "/"
        request["path"] += "?v=1" if "queryParams" in match else draw.choice(["", "", "?v=2"])
    headers = match.get("headers", {})
    for name in [header["name"] for header in headers] if isinstance(headers, list) else headers:
        request["headers"][name] = draw.choice(["1", "1", "2", "12"])
    if "method" in match:
        request["method"] = "POST" if match["method"] != "GET" else "GET"
