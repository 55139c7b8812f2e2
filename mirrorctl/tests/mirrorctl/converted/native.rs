//! Envoy's routes for VirtualServices and HTTPRoutes, mirrors included: what Istio makes of them, as far as the files go.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Makes the virtual hosts of all documents in a text.
pub fn virtual_hosts(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let services: Vec<(String, u64)> = documents.iter().filter_map(service).collect();
    let mut hosts = Vec::new();
    for document in &documents {
        let name = document["metadata"]["name"].as_str().unwrap();
        let namespace = document["metadata"]["namespace"].as_str().unwrap();
        let spec = &document["spec"];
        let (domains, routes) = match document["kind"].as_str().unwrap() {
            "VirtualService" => {
                (domains_of_virtual_service(spec, namespace), virtual_service(spec, namespace, &services))
            }
            "HTTPRoute" => (domains_of_http_route(spec, namespace), http_route(spec, namespace, &services)),
            _ => continue,
        };
        hosts.push(json!({"name": name, "domains": domains, "routes": routes}));
    }
    hosts
}

/// Takes the mirrors out.
pub fn strip(hosts: &mut [Value]) {
    for host in hosts {
        for route in host["routes"].as_array_mut().unwrap() {
            if let Some(action) = route.get_mut("route") {
                action.as_object_mut().unwrap().remove("request_mirror_policies");
            }
        }
    }
}

/// Lists the clusters that get copies.
pub fn clusters(hosts: &[Value]) -> BTreeSet<String> {
    let routes = hosts.iter().flat_map(|host| host["routes"].as_array().unwrap());
    let policies = routes.flat_map(|route| list(&route["route"]["request_mirror_policies"]));
    policies.map(|policy| policy["cluster"].as_str().unwrap().to_owned()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn service(document: &Value) -> Option<(String, u64)> {
    let host = full(document["metadata"]["name"].as_str()?, document["metadata"]["namespace"].as_str()?);
    match list(&document["spec"]["ports"]) {
        [one] if document["kind"] == "Service" => Some((host, one["port"].as_u64()?)),
        _ => None,
    }
}

fn full(host: &str, namespace: &str) -> String {
    if host.contains('.') { host.to_owned() } else { format!("{host}.{namespace}.svc.cluster.local") }
}

fn names(host: &str, namespace: &str) -> Vec<String> {
    let long = [".svc.cluster.local", ".svc", ""].map(|end| format!("{host}.{namespace}{end}"));
    long.into_iter().chain([host.to_owned()]).collect()
}

/// Writes a policy; a percentage of 0 is no policy.
fn policy(host: &str, port: u64, subset: &Value, millionths: u64) -> Option<Value> {
    let cluster = format!("outbound|{port}|{}|{host}", subset.as_str().unwrap_or_default());
    let share = json!({"numerator": millionths, "denominator": "MILLION"});
    (millionths > 0).then(|| {
        json!({
            "cluster": cluster,
            "runtime_fraction": {"default_value": share},
            "disable_shadow_host_suffix_append": true,
        })
    })
}

fn domains_of_virtual_service(spec: &Value, namespace: &str) -> Vec<String> {
    let hosts = list(&spec["hosts"]).iter().map(|host| host.as_str().unwrap());
    let in_mesh = spec.get("gateways").is_none();
    hosts.flat_map(|host| if in_mesh { names(host, namespace) } else { vec![host.to_owned()] }).collect()
}

fn virtual_service(spec: &Value, namespace: &str, services: &[(String, u64)]) -> Vec<Value> {
    let mut routes = Vec::new();
    for http in list(&spec["http"]) {
        let every = [json!({})];
        let matches = if http.get("match").is_some() { list(&http["match"]) } else { &every };
        for entry in matches {
            let mut route = json!({"match": virtual_service_match(entry)});
            if http.get("redirect").is_some() {
                route["redirect"] = json!({"path_redirect": http["redirect"]["uri"]});
            } else {
                route["route"] = action(http, namespace, services);
                let changes = [&http["headers"]["request"], &http["route"][0]["headers"]["request"]];
                let mut added = Vec::new();
                for request in changes {
                    for (kind, append) in [("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")] {
                        let header =
                            |(key, value)| json!({"header": {"key": key, "value": value}, "append_action": append});
                        added.extend(fields(&request[kind]).map(header));
                    }
                }
                route["request_headers_to_add"] = added.into();
                let removed = changes.iter().flat_map(|request| list(&request["remove"]));
                route["request_headers_to_remove"] = removed.cloned().collect();
            }
            routes.push(route);
        }
    }
    routes
}

fn virtual_service_match(entry: &Value) -> Value {
    let test = |test: &Value| {
        if *test == json!({"regex": "*"}) || *test == json!({}) { None } else { Some(string_match(test)) }
    };
    let header = |name: &str, value: &Value| match test(value) {
        Some(test) => json!({"name": name, "string_match": test}),
        None => json!({"name": name, "present_match": true}),
    };
    let mut headers: Vec<Value> = fields(&entry["headers"]).map(|(name, value)| header(name, value)).collect();
    for (name, value) in fields(&entry["withoutHeaders"]) {
        let mut matcher = header(name, value);
        matcher["invert_match"] = true.into();
        if matcher.get("present_match").is_none() {
            matcher["treat_missing_header_as_empty"] = true.into();
        }
        headers.push(matcher);
    }
    for (field, name) in [("method", ":method"), ("authority", ":authority"), ("scheme", ":scheme")] {
        headers.extend(entry.get(field).map(|value| header(name, value)));
    }
    let parameter = |(name, value): (&String, &Value)| json!({"name": name, "string_match": string_match(value)});
    let mut written = json!({
        "case_sensitive": entry["ignoreUriCase"] != true,
        "headers": headers,
        "query_parameters": fields(&entry["queryParams"]).map(parameter).collect::<Vec<_>>(),
    });
    let (specifier, value) = match fields(&entry["uri"]).next() {
        Some((kind, path)) if kind == "exact" => ("path", path.clone()),
        Some((kind, path)) if kind == "prefix" => ("prefix", path.clone()),
        Some((_, expression)) => ("safe_regex", json!({"regex": expression})),
        None => ("prefix", json!("/")),
    };
    written[specifier] = value;
    written
}

fn string_match(test: &Value) -> Value {
    let (kind, value) = fields(test).next().unwrap();
    if kind == "regex" { json!({"safe_regex": {"regex": value}}) } else { test.clone() }
}

fn action(http: &Value, namespace: &str, services: &[(String, u64)]) -> Value {
    let mut policies = Vec::new();
    let mut add = |destination: &Value, percentage: f64| {
        let host = full(destination["host"].as_str().unwrap(), namespace);
        let port = destination["port"]["number"].as_u64();
        let port = port.unwrap_or_else(|| services.iter().find(|(name, _)| *name == host).unwrap().1);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
        policies.extend(policy(&host, port, &destination["subset"], (percentage * 10_000.0) as u64));
    };
    if let Some(mirror) = http.get("mirror") {
        let percentage = http["mirrorPercentage"]["value"].as_f64().or(http["mirror_percent"].as_f64());
        add(mirror, percentage.unwrap_or(100.0));
    }
    for mirror in list(&http["mirrors"]) {
        add(&mirror["destination"], mirror["percentage"]["value"].as_f64().unwrap_or(100.0));
    }
    let mut action = json!({"cluster": "primary", "request_mirror_policies": policies});
    let rewrite = &http["rewrite"];
    for (from, to) in [("uri", "prefix_rewrite"), ("authority", "host_rewrite_literal")] {
        if let Some(value) = rewrite.get(from) {
            action[to] = value.clone();
        }
    }
    if let Some(regex) = rewrite.get("uriRegexRewrite") {
        action["regex_rewrite"] = json!({"pattern": {"regex": regex["match"]}, "substitution": regex["rewrite"]});
    }
    action
}

fn domains_of_http_route(spec: &Value, namespace: &str) -> Vec<String> {
    let parent = &spec["parentRefs"][0];
    if parent["kind"] == "Service" {
        return names(parent["name"].as_str().unwrap(), namespace);
    }
    list(&spec["hostnames"]).iter().map(|host| host.as_str().unwrap().to_owned()).collect()
}

/// Makes the routes of an HTTPRoute, in the order that the Gateway API defines.
fn http_route(spec: &Value, namespace: &str, services: &[(String, u64)]) -> Vec<Value> {
    let mut ranked = Vec::new();
    for rule in list(&spec["rules"]) {
        let every = [json!({})];
        let matches = if rule.get("matches").is_some() { list(&rule["matches"]) } else { &every };
        for entry in matches {
            let path = entry["path"]["value"].as_str().unwrap_or("/");
            let rank = (
                entry["path"]["type"] == "Exact",
                path.len(),
                entry.get("method").is_some(),
                list(&entry["headers"]).len(),
                list(&entry["queryParams"]).len(),
            );
            ranked.push((Reverse(rank), http_route_route(rule, entry, namespace, services)));
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, route)| route).collect()
}

fn http_route_route(rule: &Value, entry: &Value, namespace: &str, services: &[(String, u64)]) -> Value {
    let path = entry["path"]["value"].as_str().unwrap_or("/");
    let prefix = path.trim_end_matches('/');
    let test = |test: &Value| {
        let kind = if test["type"] == "RegularExpression" { "regex" } else { "exact" };
        json!({"name": test["name"], "string_match": string_match(&json!({kind: test["value"]}))})
    };
    let method = entry.get("method").map(|method| json!({"name": ":method", "string_match": {"exact": method}}));
    let mut matcher = json!({
        "headers": list(&entry["headers"]).iter().map(test).chain(method).collect::<Vec<_>>(),
        "query_parameters": list(&entry["queryParams"]).iter().map(test).collect::<Vec<_>>(),
    });
    let specifier = match prefix {
        _ if entry["path"]["type"] == "Exact" => "path",
        "" => "prefix",
        _ => "path_separated_prefix",
    };
    matcher[specifier] = if specifier == "path_separated_prefix" { prefix.into() } else { path.into() };
    let mut action = json!({"cluster": "primary"});
    let mut route = json!({"match": matcher});
    let mut policies = Vec::new();
    for filter in list(&rule["filters"]) {
        if let Some(mirror) = filter.get("requestMirror") {
            let backend = &mirror["backendRef"];
            let host = full(backend["name"].as_str().unwrap(), backend["namespace"].as_str().unwrap_or(namespace));
            let port = backend["port"].as_u64();
            let port = port.unwrap_or_else(|| services.iter().find(|(name, _)| *name == host).unwrap().1);
            let fraction = &mirror["fraction"];
            let of_fraction =
                fraction["numerator"].as_u64().map(|part| part * 1_000_000 / fraction["denominator"].as_u64().unwrap());
            let millionths = of_fraction.or_else(|| Some(mirror["percent"].as_u64()? * 10_000)).unwrap_or(1_000_000);
            policies.extend(policy(&host, port, &Value::Null, millionths));
        }
        if let Some(rewrite) = filter.get("urlRewrite") {
            if let Some(hostname) = rewrite.get("hostname") {
                action["host_rewrite_literal"] = hostname.clone();
            }
            let path = &rewrite["path"];
            let regex = |pattern: &str, text: &str| json!({"pattern": {"regex": pattern}, "substitution": text});
            if let Some(full) = path.get("replaceFullPath") {
                action["regex_rewrite"] = regex("/.*", &full.as_str().unwrap().replace('\\', r"\\"));
            } else if path["replacePrefixMatch"] == "/" {
                action["regex_rewrite"] = regex(&format!("^{}(/?)(.*)", regex::escape(prefix)), r"/\2");
            } else {
                action["prefix_rewrite"] = path["replacePrefixMatch"].as_str().unwrap().trim_end_matches('/').into();
            }
        }
        if let Some(modifier) = filter.get("requestHeaderModifier") {
            let set = |edit: &Value| {
                let header = json!({"key": edit["name"], "value": edit["value"]});
                json!({"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
            };
            route["request_headers_to_add"] = list(&modifier["set"]).iter().map(set).collect();
            route["request_headers_to_remove"] = modifier["remove"].clone();
        }
    }
    action["request_mirror_policies"] = policies.into();
    route["route"] = action;
    route
}
