//! The configuration as types that describe it and are never read: the plugin reads it by hand, so that it can tell all
//! that is wrong. Tests hold the two together.
#![allow(dead_code, reason = "described, not read")]

use super::parts::{
    ASKED_FOR, COOKIE, DURATION, HEADER, MOMENT, NAME, POINTER, VALUE, Whole, at_least_one, at_most_one, exactly_one,
    needs, needs_name_for,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::collections::BTreeMap;

const MOST_BODY: u64 = 64 << 20;

/// The longest body of a response that may be asked to be compared, in bytes.
const MOST_COMPARED: u64 = 1 << 20;
const MOST_BUFFERED: u64 = 512 << 20;

/// Configuration of the traffic-mirror plugin for Envoy and Istio.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Configuration {
    /// In order; the first rule that matches decides, and no other is looked at.
    #[schemars(length(min = 1))]
    rules: Vec<Rule>,
    /// Set to `true` on every copy; a request that carries it is never mirrored. Default `x-mirrored-request`; `""` switches
    /// both off.
    #[schemars(regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]*$"))]
    marker_header: Option<String>,
    /// For each Envoy worker thread, all rules together; the rate for the complete Envoy.
    limits: Option<Limits>,
    /// What a configuration with errors does. `refuse`: it is rejected. `keepLast`: it is taken, and the last good configuration
    /// of the same plugin goes on, or nothing is mirrored; set it wherever the configuration comes by ECDS, as in Istio. Default
    /// `refuse`.
    on_invalid: Option<OnInvalid>,
}

/// Which requests are mirrored, and where to.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    /// Label in metrics and logs, unique: 1 to 64 of `A-Z a-z 0-9 _ -`. Default `rule-<index>`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]{1,64}$"))]
    name: Option<String>,
    /// The rule matches if one entry does. Absent or empty: every request.
    r#match: Option<Vec<Match>>,
    /// Where copies go. `[]`: matched, and mirrored nowhere.
    mirrors: Vec<Mirror>,
    /// What is counted of primary and mirrors side by side. Default: nothing.
    compare: Option<Compare>,
    /// Requests that no upstream gets, because Envoy has no cluster for them: without a route, with a redirect or a direct
    /// response. `mirror`: they are mirrored as all others. Default `ignore`.
    unrouted: Option<Unrouted>,
}

/// What becomes of requests that no upstream gets.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "camelCase")]
enum Unrouted {
    Ignore,
    Mirror,
}

/// How primary and mirrors are compared, and by how much the mirror was slower or faster; at least one of `status`, `headers` and
/// `body`. `headers` and `body` need the compare build, `traffic_mirror_compare.wasm`; the other module refuses them.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = [at_least_one(&["status", "headers", "body"])]))]
struct Compare {
    /// Whether both responded with the same status, for gRPC with the same grpc-status. Default `false`.
    status: Option<bool>,
    /// Names of response headers: 1 to 100. Values of one name are joined with `,`.
    #[schemars(length(min = 1, max = 100), inner(regex(pattern = HEADER)), extend("uniqueItems" = true))]
    headers: Option<Vec<String>>,
    /// Bodies of responses, decoded where their content-encoding is gzip. Default: not compared.
    body: Option<CompareBody>,
    /// `false`: in which places responses differ is neither counted nor logged, because names of members can be data. Default `true`.
    fields: Option<bool>,
}

/// How bodies of responses are compared; exactly one of `json` and `exact`.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = [exactly_one(&["json", "exact"])]))]
struct CompareBody {
    /// As JSON: neither the order of members nor the form of numbers and strings counts. What is no JSON is the same only if its bytes
    /// are.
    json: Option<CompareJson>,
    /// `true`: byte by byte.
    #[schemars(extend("enum" = [true, null]))]
    exact: Option<bool>,
    /// Longest body that is compared, of each side and decoded, in bytes. Default 64 KiB.
    max_bytes: Option<Whole<1, MOST_COMPARED>>,
}

/// What of JSON is compared; `{}`: everything.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct CompareJson {
    /// JSON pointers (RFC 6901) to what is not: at most 100. `*` is any index or member, `""` the complete document.
    #[schemars(length(max = 100), inner(regex(pattern = POINTER)), extend("uniqueItems" = true))]
    ignore: Option<Vec<String>>,
    /// The order of items does not count, in any array. Default `false`.
    unordered_arrays: Option<bool>,
    /// A member that is null is as if it were absent. Default `false`.
    null_is_absent: Option<bool>,
}

/// Conditions, all of which must hold.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Match {
    /// The path without query and fragment.
    uri: Option<StringMatch>,
    /// `exact`, `prefix`, `suffix` and `contains` of `uri` ignore case. No effect on `regex`. Default `false`.
    ignore_uri_case: Option<bool>,
    /// The method.
    method: Option<StringMatch>,
    /// The scheme.
    scheme: Option<StringMatch>,
    /// The complete `:authority`, port included.
    authority: Option<StringMatch>,
    /// For each name, its value. Names ignore case; several values of one name are joined with `,`. `host` means
    /// `:authority`.
    #[schemars(extend("propertyNames" = { "pattern": ASKED_FOR }, "not" = { "required": ["host", ":authority"] }))]
    headers: Option<BTreeMap<String, StringMatch>>,
    /// As `headers`, but the entry fails if the value matches. A header that is missing counts as `""`; `{}` asks whether it
    /// is there.
    #[schemars(extend("propertyNames" = { "pattern": ASKED_FOR }, "not" = { "required": ["host", ":authority"] }))]
    without_headers: Option<BTreeMap<String, StringMatch>>,
    /// For each key, its first value, not URL-decoded.
    #[schemars(extend("propertyNames" = { "pattern": NAME }))]
    query_params: Option<BTreeMap<String, StringMatch>>,
    /// For each name, its value, without double quotes around it.
    #[schemars(extend("propertyNames" = { "pattern": NAME }))]
    cookies: Option<BTreeMap<String, StringMatch>>,
    /// Ranges (`10.0.0.0/8`, `fd00::/8`) and addresses. One must hold the client's address, Envoy's `source.address`.
    #[schemars(length(min = 1))]
    source_cidrs: Option<Vec<String>>,
    /// The name of the Envoy route that was chosen.
    route_name: Option<StringMatch>,
    /// The name of the Envoy cluster that the route leads to, as chosen among weighted ones. A request that no upstream gets
    /// has none, and does not match.
    cluster_name: Option<StringMatch>,
}

/// A test of one value: exactly one of the kinds, or `{}`: the value is there.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = [at_most_one(&["exact", "prefix", "suffix", "contains", "regex"])]))]
struct StringMatch {
    /// The value is this.
    exact: Option<String>,
    /// The value begins with this.
    prefix: Option<String>,
    /// The value ends with this.
    suffix: Option<String>,
    /// The value contains this.
    contains: Option<String>,
    /// The value matches from beginning to end. RE2 syntax, linear time.
    #[schemars(length(max = 1024))]
    regex: Option<String>,
    /// Letters of either case are the same. Default `false`.
    ignore_case: Option<bool>,
}

/// Where copies go, which requests are sampled, and how a copy differs from its request.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = [
    exactly_one(&["cluster", "destination", "clusterHeader"]),
    at_most_one(&["percentage", "fraction", "ramp"]),
    needs("allowedClusters", "clusterHeader"),
    needs_name_for(r"^[.]+$"),
]))]
struct Mirror {
    /// Label in metrics and logs. Default: the cluster's name without dots at its end, or `header:<name>`. No two mirrors of a
    /// rule may have the same.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]{1,64}$"))]
    name: Option<String>,
    /// Name of an Envoy cluster.
    cluster: Option<ClusterName>,
    /// Istio's form of a cluster: `outbound|<port>|<subset>|<host>`.
    destination: Option<Destination>,
    /// Name of the request header that names the cluster. Absent or empty: no copy.
    #[schemars(regex(pattern = ASKED_FOR))]
    cluster_header: Option<String>,
    /// Any other name in `clusterHeader` gives no copy.
    allowed_clusters: Option<Vec<ClusterName>>,
    /// Share of requests; four decimals count. Default 100.
    #[schemars(range(min = 0, max = 100))]
    #[schemars(extend("anyOf" = [{ "enum": [0, 100] }, { "minimum": 0.00005, "exclusiveMaximum": 99.99995 }]))]
    percentage: Option<f64>,
    /// Instead of `percentage`.
    fraction: Option<Fraction>,
    /// Instead of `percentage`: the share as a function of time. Each holds from its moment to the next; before the first there are no
    /// copies. Moments ascend.
    #[schemars(length(min = 1))]
    ramp: Option<Vec<Step>>,
    /// There are no copies before this moment, such as `2026-12-01T09:00:00Z`.
    #[schemars(regex(pattern = MOMENT))]
    from: Option<String>,
    /// There are no copies from this moment on.
    #[schemars(regex(pattern = MOMENT))]
    until: Option<String>,
    /// Sample by a key of the request instead of at random: the same key is selected always or never.
    consistent_hash: Option<ConsistentHash>,
    /// Changes to authority and path of the copy.
    rewrite: Option<Rewrite>,
    /// `false`: `-shadow` is appended to the copy's host, before the port. Default `false`.
    disable_shadow_host_suffix_append: Option<bool>,
    /// Changes to headers of the copy: remove, then set, then add. None may name the `markerHeader`.
    headers: Option<HeaderEdits>,
    /// Values that are hidden on the copy, before anything else is done to it. Where a part of it cannot be looked at, there is no
    /// copy.
    redact: Option<Redact>,
    /// `omit`: the copy has no body. Default `include`.
    body: Option<Body>,
    /// What a body above `limits.maxBodyBytes` does: no copy, or one without body. Default `skip`.
    on_oversized_body: Option<OnOversizedBody>,
    /// How long to wait for the response: `1ms` to `1h`. Default `5s`.
    #[schemars(regex(pattern = DURATION))]
    timeout: Option<String>,
    /// How many copies may be sent and have no response yet, for each Envoy worker thread, beside `limits.maxInFlight`.
    max_in_flight: Option<Whole<1, { u32::MAX as u64 }>>,
    /// The copy is sent once the primary's response is over, and only if one entry holds.
    #[schemars(length(min = 1))]
    when: Option<Vec<When>>,
    /// The headers of traces. `unsampled`: they say that the copy is not sampled. `new`: the copy begins a trace of its own, with the
    /// old `traceparent` in `x-mirrored-traceparent`. Default `keep`.
    trace: Option<Trace>,
}

/// A step of a ramp.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    /// When it begins, such as `2026-12-01T09:00:00Z`.
    #[schemars(regex(pattern = MOMENT))]
    at: String,
    /// Share of requests; four decimals count.
    #[schemars(range(min = 0, max = 100))]
    #[schemars(extend("anyOf" = [{ "enum": [0, 100] }, { "minimum": 0.00005, "exclusiveMaximum": 99.99995 }]))]
    percentage: f64,
}

/// Conditions on the primary's response, all of which must hold; at least one.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, extend("allOf" = [at_least_one(&["status", "slowerThan"])]))]
struct When {
    /// Its status: a code, a class (`5xx`), a range (`500-503`), or `none`: the client got no response. For gRPC the HTTP status.
    #[schemars(length(min = 1))]
    status: Option<Vec<Status>>,
    /// The upstream took longer than this: `1ms` to `1h`. What Envoy responds itself does not hold.
    #[schemars(regex(pattern = DURATION))]
    slower_than: Option<String>,
}

/// A code, a class, a range, or `none`.
struct Status;

impl JsonSchema for Status {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Status".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "pattern": "^([1-5]xx|[1-5][0-9]{2}|[1-5][0-9]{2}-[1-5][0-9]{2}|none)$" },
            ]
        })
    }
}

/// What becomes of the headers of traces.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "camelCase")]
enum Trace {
    Keep,
    Unsampled,
    New,
}

/// Name of an Envoy cluster.
#[derive(JsonSchema)]
#[schemars(inline, extend("pattern" = NAME, "maxLength" = 1024, "not" = { "type": "string", "pattern": "=[.]=|;[.];|;[.]$" }))]
struct ClusterName(String);

/// A name in Istio's form of a cluster.
#[derive(JsonSchema)]
#[schemars(inline, extend("pattern" = r"^[^|\u0000-\u0008\u000a-\u001f\u007f]+$"))]
struct DestinationName(String);

/// Istio's `Destination`.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Destination {
    /// Full name of a service, `mirror.test.svc.cluster.local`, of letters, digits, `-`, `_` and `.`; or an IP address without
    /// brackets. No URL.
    #[schemars(length(max = 1024))]
    #[schemars(regex(pattern = r"^([A-Za-z0-9._-]+|::1|[0-9A-Fa-f]{3,4}:[0-9A-Fa-f:.]+)$"))]
    host: String,
    /// Port of the service.
    port: Port,
    /// Subset of the service's DestinationRule.
    subset: Option<DestinationName>,
}

/// A port of a service.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Port {
    /// Its number.
    number: Whole<1, 65_535>,
}

/// A share of requests.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Fraction {
    /// At most `denominator`.
    numerator: Whole<0, { u64::MAX }>,
    /// At least 1.
    denominator: Whole<1, { u64::MAX }>,
}

/// Where the key of a sticky sample is found; exactly one of the sources.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = [
    exactly_one(&["httpHeaderName", "httpCookieName", "httpQueryParameterName", "useSourceIp"]),
]))]
struct ConsistentHash {
    /// A header.
    #[schemars(regex(pattern = ASKED_FOR))]
    http_header_name: Option<String>,
    /// A cookie.
    #[schemars(regex(pattern = NAME))]
    http_cookie_name: Option<String>,
    /// A key in the query.
    #[schemars(regex(pattern = NAME))]
    http_query_parameter_name: Option<String>,
    /// The IP address of the peer, without the port. What is no IP address, as behind an internal listener, is no key.
    #[schemars(extend("enum" = [true, null]))]
    use_source_ip: Option<bool>,
    /// Another seed selects other keys. Default 0.
    seed: Option<Whole<0, { u64::MAX }>>,
}

/// Changes to authority and path of the copy.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, extend("allOf" = [at_most_one(&["uri", "uriRegexRewrite"])]))]
struct Rewrite {
    /// Replaces `:authority`; then nothing is appended to it.
    #[schemars(regex(pattern = r"^[^ /\u0000-\u001f\u007f]+$"))]
    authority: Option<String>,
    /// Replaces the `exact` or `prefix` of `uri` that matched. Every entry of `match` must have one.
    #[schemars(regex(pattern = r"^/[^?# \u0000-\u001f\u007f]*$"))]
    uri: Option<String>,
    /// On the path without the query.
    uri_regex_rewrite: Option<UriRegexRewrite>,
}

/// Replaces what a regular expression matches in the path.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct UriRegexRewrite {
    /// RE2 syntax. All matches are replaced.
    #[schemars(length(max = 1024))]
    r#match: String,
    /// `\0` is the match, `\1` to `\9` its groups, `\\` a backslash.
    #[schemars(regex(pattern = r"^([^\\\u0000-\u0008\u000a-\u001f\u007f]|\\[0-9\\])*$"))]
    rewrite: String,
}

/// Changes to headers of the copy.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct HeaderEdits {
    /// Names.
    #[schemars(inner(regex(pattern = HEADER)), extend("uniqueItems" = true))]
    remove: Option<Vec<String>>,
    /// Replaces the header where it stands, or appends it.
    #[schemars(extend("propertyNames" = { "pattern": HEADER }))]
    set: Option<BTreeMap<String, HeaderValue>>,
    /// Appends the header.
    #[schemars(extend("propertyNames" = { "pattern": HEADER }))]
    add: Option<BTreeMap<String, HeaderValue>>,
}

/// Value of a header.
#[derive(JsonSchema)]
#[schemars(inline, extend("pattern" = VALUE))]
struct HeaderValue(String);

/// Values that are hidden on the copy; at least one list, each of 1 to 100 entries.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = [at_least_one(&["headers", "cookies", "queryParams", "form", "json"])]))]
struct Redact {
    /// Names of headers. Each value of them is replaced completely.
    #[schemars(length(min = 1, max = 100), inner(regex(pattern = HEADER)), extend("uniqueItems" = true))]
    headers: Option<Vec<String>>,
    /// Names of cookies.
    #[schemars(length(min = 1, max = 100), inner(regex(pattern = COOKIE)), extend("uniqueItems" = true))]
    cookies: Option<Vec<String>>,
    /// Names of parameters in the query of `:path`, URL-decoded.
    #[schemars(length(min = 1, max = 100), inner(regex(pattern = NAME)), extend("uniqueItems" = true))]
    query_params: Option<Vec<String>>,
    /// Names of parameters, URL-decoded, in bodies of `application/x-www-form-urlencoded`.
    #[schemars(length(min = 1, max = 100), inner(regex(pattern = NAME)), extend("uniqueItems" = true))]
    form: Option<Vec<String>>,
    /// JSON pointers (RFC 6901) into bodies of `application/json` and `…+json`. `*` is any index or member, `""` the complete
    /// document.
    #[schemars(length(min = 1, max = 100), inner(regex(pattern = POINTER)), extend("uniqueItems" = true))]
    json: Option<Vec<String>>,
    /// `mask`: `***` stands in place of each value. `pseudonym`: the same 18 characters for equal values, made with the key in the
    /// VM's environment variable `TRAFFIC_MIRROR_KEY`. Default `mask`.
    with: Option<With>,
}

/// What stands in place of a value.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "camelCase")]
enum With {
    Mask,
    Pseudonym,
}

/// Whether a copy has the request's body.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "camelCase")]
enum Body {
    Include,
    Omit,
}

/// What a body above the limit does to the copy.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "camelCase")]
enum OnOversizedBody {
    Skip,
    Omit,
}

/// What a configuration with errors does.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "camelCase")]
enum OnInvalid {
    Refuse,
    KeepLast,
}

/// What copies may take, for each Envoy worker thread; the rate for the complete Envoy.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, extend("allOf" = [needs("burst", "maxRequestsPerSecond")]))]
struct Limits {
    /// Body of one request, in bytes. At most `maxBufferedBytes`. Default 1 MiB, or `maxBufferedBytes` if that is less.
    max_body_bytes: Option<Whole<0, MOST_BODY>>,
    /// All bodies buffered for copies at one time, in bytes. Default 64 MiB.
    max_buffered_bytes: Option<Whole<0, MOST_BUFFERED>>,
    /// Copies sent that have no response yet. Default 1024.
    max_in_flight: Option<Whole<1, { u32::MAX as u64 }>>,
    /// Copies sent per second, by all workers and listeners of an Envoy together. Default: no cap.
    max_requests_per_second: Option<Whole<1, 1_000_000_000>>,
    /// Size of the token bucket, only with `maxRequestsPerSecond`. Default: `maxRequestsPerSecond`.
    burst: Option<Whole<1, 1_000_000_000>>,
}
