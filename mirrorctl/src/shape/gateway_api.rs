//! The Gateway API's resources, with the fields of its experimental channel, as far as they decide what is mirrored.

use super::Shape::{Any, List, Map, Number, Object, Open, Text, Whole};
use super::{Field, PORT, Shape, resource};

/// The largest part of a fraction, an int32.
const PARTS: u64 = 0x7fff_ffff;

pub(super) const HTTP_ROUTE: &[Field] = &resource(Object(&[
    ("parentRefs", List(&PARENT)),
    ("hostnames", List(&Text)),
    ("rules", List(&Object(HTTP_RULE))),
    ("useDefaultGateways", Any),
]));

pub(super) const GRPC_ROUTE: &[Field] = &resource(Object(&[
    ("parentRefs", List(&PARENT)),
    ("hostnames", List(&Text)),
    ("rules", List(&Object(GRPC_RULE))),
    ("useDefaultGateways", Any),
]));

pub(super) const GATEWAY: &[Field] = &resource(Open(&[
    ("gatewayClassName", Text),
    ("listeners", List(&Open(LISTENER))),
    ("addresses", Any),
    ("allowedListeners", Any),
    ("backendTLS", Any),
    ("defaultScope", Any),
    ("infrastructure", Any),
    ("tls", Any),
]));

const LISTENER: &[Field] = &[
    ("name", Text),
    ("hostname", Text),
    ("port", PORT),
    ("protocol", Text),
    ("allowedRoutes", Open(ALLOWED)),
    ("tls", Any),
];

/// Which routes a listener takes.
const ALLOWED: &[Field] = &[
    (
        "namespaces",
        Open(&[("from", Text), ("selector", Open(&[("matchLabels", Map(&Text)), ("matchExpressions", List(&Any))]))]),
    ),
    ("kinds", List(&Open(&[("group", Text), ("kind", Text)]))),
];

const PARENT: Shape = Open(&[
    ("name", Text),
    ("namespace", Text),
    ("group", Text),
    ("kind", Text),
    ("sectionName", Text),
    ("port", PORT),
]);

const HTTP_RULE: &[Field] = &[
    ("name", Text),
    ("matches", List(&Object(HTTP_MATCH))),
    ("filters", List(&Object(FILTER))),
    ("backendRefs", List(&Object(BACKEND))),
    ("timeouts", Open(&[("request", Text), ("backendRequest", Text)])),
    ("retry", Any),
    ("sessionPersistence", Any),
];

const GRPC_RULE: &[Field] = &[
    ("name", Text),
    ("matches", List(&Object(GRPC_MATCH))),
    ("filters", List(&Object(FILTER))),
    ("backendRefs", List(&Object(BACKEND))),
    ("sessionPersistence", Any),
];

const HTTP_MATCH: &[Field] = &[
    ("path", Object(&[("type", Text), ("value", Text)])),
    ("headers", List(&NAMED)),
    ("queryParams", List(&NAMED)),
    ("method", Text),
];

const GRPC_MATCH: &[Field] =
    &[("method", Object(&[("type", Text), ("service", Text), ("method", Text)])), ("headers", List(&NAMED))];

/// A condition on a header or on a query parameter.
const NAMED: Shape = Object(&[("type", Text), ("name", Text), ("value", Text)]);

const FILTER: &[Field] = &[
    ("type", Text),
    ("requestMirror", Object(MIRROR)),
    ("requestHeaderModifier", Object(&[("set", EDITS), ("add", EDITS), ("remove", List(&Text))])),
    ("urlRewrite", Object(&[("hostname", Text), ("path", Object(REWRITE))])),
    ("responseHeaderModifier", Any),
    ("requestRedirect", Any),
    ("cors", Any),
    ("externalAuth", Any),
    ("extensionRef", Any),
];

const EDITS: Shape = List(&Object(&[("name", Text), ("value", Text)]));

const REWRITE: &[Field] = &[("type", Text), ("replaceFullPath", Text), ("replacePrefixMatch", Text)];

const MIRROR: &[Field] = &[
    ("backendRef", Object(MIRRORED)),
    ("percent", Whole(0, 100)),
    ("fraction", Object(&[("numerator", Whole(0, PARTS)), ("denominator", Whole(1, PARTS))])),
];

/// What a mirror names: a backend without weight and filters.
const MIRRORED: &[Field] = &[("name", Text), ("namespace", Text), ("group", Text), ("kind", Text), ("port", PORT)];

/// A backend.
const BACKEND: &[Field] = &[
    ("name", Text),
    ("namespace", Text),
    ("group", Text),
    ("kind", Text),
    ("port", PORT),
    ("weight", Number),
    ("filters", List(&Object(FILTER))),
];
