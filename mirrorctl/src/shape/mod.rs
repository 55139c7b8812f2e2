//! What the fields of a resource are called, and what may stand in them; all of a resource is held against it before it is
//! read. What the values mean is its readers' to decide.

mod gateway_api;
mod istio;

use crate::node::Node;
use crate::tree::Tree;
use traffic_mirror::config::Config;

/// What may stand in a field.
#[derive(Debug)]
enum Shape {
    /// Anything: nothing of it decides what is mirrored.
    Any,
    Text,
    Flag,
    Number,
    /// A whole number in a range, which may be written as text.
    Whole(u64, u64),
    List(&'static Shape),
    /// An object whose names are the user's.
    Map(&'static Shape),
    /// An object that says what is mirrored: a name that is not known here is an error.
    Object(&'static [Field]),
    /// An object around that, of which newer versions may have more fields: a name that is not known here is a warning.
    Open(&'static [Field]),
    /// An object of which only this is looked at.
    Part(&'static [Field]),
    /// One of Istio's `exact`, `prefix` and `regex`, or none.
    StringMatch,
}

/// A name in an object, and what may stand there.
type Field = (&'static str, Shape);

/// A port's number.
const PORT: Shape = Shape::Whole(1, 65_535);

/// Kubernetes' own fields around the `spec` of a resource. It has checked them itself.
const fn resource(spec: Shape) -> [Field; 5] {
    [
        ("apiVersion", Shape::Text),
        ("kind", Shape::Text),
        ("metadata", Shape::Part(METADATA)),
        ("spec", spec),
        ("status", Shape::Any),
    ]
}

/// The kinds of a `StringMatch`.
const TESTS: &[Field] = &[("exact", Shape::Text), ("prefix", Shape::Text), ("regex", Shape::Text)];

/// What `convert` reads of a resource's names; Kubernetes checks the rest.
const METADATA: &[Field] = &[("name", Shape::Text), ("namespace", Shape::Text), ("creationTimestamp", Shape::Text)];

/// Kubernetes' own Service.
const SERVICE: &[Field] = &resource(Shape::Part(&[("ports", Shape::List(&Shape::Part(&[("port", PORT)])))]));

/// Reports what is of the wrong type in a resource, or has a name that is not known there. Of kinds without a shape, nothing is.
pub(crate) fn check(root: &Node<'_>) {
    let Some((shape, spelling)) = shape_of(root) else { return };
    walk_object(root, shape, spelling, Others::Error);
}

/// What a name is that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Error,
    Warning,
    Ignored,
}

/// How names may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// As they are.
    Camel,
    /// As they are, or as in the proto file: `mirrorPercentage`, `mirror_percentage`.
    Proto,
}

/// Finds the shape of a resource; one without `apiVersion` is taken for the one that has its kind.
fn shape_of(root: &Node<'_>) -> Option<(&'static [Field], Spelling)> {
    let group =
        root.tree().text_at(&["apiVersion"]).and_then(|version| version.split_once('/')).map(|(group, _)| group);
    let is_of = |own: &str| group.is_none_or(|group| group == own);
    let has = |list| root.tree().at(&["spec", list]).is_some();
    let is_istio = is_of("networking.istio.io");
    let is_gateway_api = is_of("gateway.networking.k8s.io");
    match root.kind()? {
        "VirtualService" if is_istio => Some((istio::VIRTUAL_SERVICE, Spelling::Proto)),
        "ServiceEntry" if is_istio => Some((istio::SERVICE_ENTRY, Spelling::Proto)),
        "Gateway" if is_istio && (group.is_some() || has("servers") || has("selector")) => {
            Some((istio::GATEWAY, Spelling::Proto))
        }
        "Gateway" if is_gateway_api => Some((gateway_api::GATEWAY, Spelling::Camel)),
        "Service" => Some((SERVICE, Spelling::Camel)),
        "HTTPRoute" if is_gateway_api => Some((gateway_api::HTTP_ROUTE, Spelling::Camel)),
        "GatewayClass" if is_gateway_api => Some((gateway_api::GATEWAY_CLASS, Spelling::Camel)),
        "ReferenceGrant" if is_gateway_api => Some((gateway_api::REFERENCE_GRANT, Spelling::Camel)),
        "GRPCRoute" if is_gateway_api => Some((gateway_api::GRPC_ROUTE, Spelling::Camel)),
        _ => None,
    }
}

fn walk_object(object: &Node<'_>, fields: &'static [Field], spelling: Spelling, others: Others) {
    for (name, value) in object.entries() {
        // `null` means that a field is absent, whatever its name.
        if *value.tree() == Tree::Null {
            continue;
        }
        match fields.iter().find(|(own, _)| *own == name || spelling == Spelling::Proto && is_snake(name, own)) {
            Some((_, shape)) => walk_value(&value, shape, spelling),
            None if others == Others::Ignored => {}
            None => {
                let known: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
                value.unknown(name, &known, others == Others::Error);
            }
        }
    }
}

fn walk_value(value: &Node<'_>, shape: &Shape, spelling: Spelling) {
    match shape {
        Shape::Any => {}
        Shape::Text => drop(value.text()),
        Shape::Flag => drop(value.flag()),
        Shape::Number => drop(value.number()),
        Shape::Whole(least, most) => drop(value.whole(*least..=*most)),
        Shape::List(items) => value.items().iter().for_each(|item| walk_value(item, items, spelling)),
        Shape::Map(values) => {
            let given = value.entries().into_iter().filter(|(_, value)| *value.tree() != Tree::Null);
            given.for_each(|(_, value)| walk_value(&value, values, spelling));
        }
        Shape::Object(fields) => walk_object(value, fields, spelling, Others::Error),
        Shape::Open(fields) => walk_object(value, fields, spelling, Others::Warning),
        Shape::Part(fields) => walk_object(value, fields, spelling, Others::Ignored),
        Shape::StringMatch => walk_test(value),
    }
}

/// Checks a `StringMatch`, and that the plugin takes its expression.
fn walk_test(test: &Node<'_>) {
    walk_object(test, TESTS, Spelling::Camel, Others::Error);
    if TESTS.iter().filter(|(kind, _)| test.tree().get(kind).is_some()).count() > 1 {
        let _: Option<()> = test.refuse("{…}".to_owned(), "more than one of exact, prefix and regex");
        return;
    }
    // The expression `*` is Istio's older way to ask for presence.
    let is_expression = |regex: &Node<'_>| regex.tree().text().is_some_and(|regex| regex != "*");
    let Some(regex) = test.field("regex").filter(is_expression) else { return };
    let matcher = Tree::field("uri", Tree::field("regex", regex.tree().clone()));
    let rule = Tree::map([("match", Some(vec![matcher].into())), ("mirrors", Some(Vec::<Tree>::new().into()))]);
    let config = Tree::field("rules", vec![rule]);
    let Err(violations) = Config::from_bytes(config.json().as_bytes()) else { return };
    for line in violations.lines() {
        // `rules[0].match[0].uri.regex: "(": not a regular expression: unclosed group`
        let said = line.split_once(".regex: ").and_then(|(_, said)| said.rsplit_once("\": "));
        let (shown, what) = said.map_or((String::new(), &*line), |(shown, what)| (format!("{shown}\""), what));
        let _: Option<()> = regex.refuse(shown, what);
    }
}

/// Tells whether a name is the proto file's spelling of a field: `mirror_percentage` of `mirrorPercentage`.
fn is_snake(name: &str, camel: &str) -> bool {
    let mut rest = name.chars();
    let same = camel.chars().all(|character| match character.is_ascii_uppercase() {
        true => rest.next() == Some('_') && rest.next() == Some(character.to_ascii_lowercase()),
        false => rest.next() == Some(character),
    });
    same && rest.next().is_none()
}
