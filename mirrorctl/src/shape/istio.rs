//! Istio's resources of `networking.istio.io`, as far as they decide what is mirrored.

use super::Shape::{Any, Flag, List, Map, Number, Object, Open, StringMatch, Text, Whole};
use super::{Field, PORT, resource};

/// The largest number of a `uint32`.
const LARGEST: u64 = u32::MAX as u64;

pub(super) const VIRTUAL_SERVICE: &[Field] = &resource(Object(&[
    ("hosts", List(&Text)),
    ("gateways", List(&Text)),
    ("http", List(&Object(ROUTE))),
    ("tls", Any),
    ("tcp", Any),
    ("exportTo", List(&Text)),
]));

pub(super) const GATEWAY: &[Field] = &resource(Open(&[("selector", Map(&Text)), ("servers", List(&Open(SERVER)))]));

pub(super) const SERVICE_ENTRY: &[Field] = &resource(Open(&[
    ("hosts", List(&Text)),
    ("ports", List(&Open(&[("number", PORT), ("name", Any), ("protocol", Any), ("targetPort", Any)]))),
    ("addresses", Any),
    ("endpoints", Any),
    ("exportTo", Any),
    ("location", Any),
    ("resolution", Any),
    ("subjectAltNames", Any),
    ("workloadSelector", Any),
]));

const SERVER: &[Field] = &[
    ("hosts", List(&Text)),
    ("port", Open(&[("number", PORT), ("protocol", Text), ("name", Any), ("targetPort", Any)])),
    ("name", Text),
    ("bind", Any),
    ("defaultEndpoint", Any),
    ("tls", Any),
];

/// An HTTP route.
const ROUTE: &[Field] = &[
    ("name", Text),
    ("match", List(&Object(MATCH))),
    ("route", List(&Object(&[("destination", Object(DESTINATION)), ("weight", Number), ("headers", Object(HEADERS))]))),
    (
        "redirect",
        Open(&[
            ("authority", Any),
            ("derivePort", Any),
            ("port", Any),
            ("prefixRewrite", Any),
            ("redirectCode", Any),
            ("scheme", Any),
            ("uri", Any),
        ]),
    ),
    ("directResponse", Open(&[("body", Any), ("status", Any)])),
    ("delegate", Open(&[("name", Text), ("namespace", Text)])),
    (
        "rewrite",
        Object(&[
            ("uri", Text),
            ("authority", Text),
            ("uriRegexRewrite", Object(&[("match", Text), ("rewrite", Text)])),
        ]),
    ),
    ("timeout", Text),
    ("headers", Object(HEADERS)),
    ("mirror", Object(DESTINATION)),
    ("mirrors", List(&Object(&[("destination", Object(DESTINATION)), ("percentage", Object(PERCENT))]))),
    ("mirrorPercentage", Object(PERCENT)),
    ("mirrorPercent", Number),
    ("corsPolicy", Any),
    ("fault", Any),
    ("retries", Any),
];

const MATCH: &[Field] = &[
    ("name", Text),
    ("uri", StringMatch),
    ("scheme", StringMatch),
    ("method", StringMatch),
    ("authority", StringMatch),
    ("headers", Map(&StringMatch)),
    ("withoutHeaders", Map(&StringMatch)),
    ("queryParams", Map(&StringMatch)),
    ("ignoreUriCase", Flag),
    ("port", Whole(0, LARGEST)),
    ("sourceLabels", Map(&Text)),
    ("sourceNamespace", Text),
    ("gateways", List(&Text)),
    ("statPrefix", Any),
];

const DESTINATION: &[Field] = &[("host", Text), ("subset", Text), ("port", Object(&[("number", PORT)]))];

const PERCENT: &[Field] = &[("value", Number)];

const HEADERS: &[Field] =
    &[("request", Object(&[("set", Map(&Text)), ("add", Map(&Text)), ("remove", List(&Text))])), ("response", Any)];
