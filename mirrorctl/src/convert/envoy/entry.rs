//! One entry of a rule's `match` while it is made: a conjunction that grows condition by condition.

use crate::convert::pattern::literal;
use crate::tree::Tree;

/// The conditions of an entry, as the plugin writes them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) authority: Option<Tree>,
    pub(super) uri: Option<Tree>,
    pub(super) ignores_uri_case: bool,
    pub(super) method: Option<Tree>,
    pub(super) route: Option<String>,
    pub(super) cluster: Option<String>,
    headers: Vec<(String, Tree)>,
    without: Vec<(String, Tree)>,
    query: Vec<(String, Tree)>,
}

/// Conditions that cannot stand in one entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Clash {
    /// No request meets them.
    Never,
    /// The plugin has no way to say both.
    Unwritable,
}

impl Entry {
    /// Begins with the name of Envoy's route.
    pub(super) fn of_route(name: &str) -> Self {
        Self { route: Some(name.to_owned()), ..Self::default() }
    }

    /// Returns it with another condition on the path.
    pub(super) fn with_uri(&self, test: &Tree, ignores_case: bool) -> Self {
        Self { uri: Some(test.clone()), ignores_uri_case: ignores_case, ..self.clone() }
    }

    /// Tells whether every request with a path of its own meets it.
    pub(super) fn is_whole(&self) -> bool {
        let is_slash = self.uri.as_ref().is_none_or(|uri| matches!(uri.text_at(&["prefix"]), Some("/" | "")));
        is_slash && Self { uri: None, ignores_uri_case: false, ..self.clone() }.is_empty()
    }

    /// Leaves out a condition that the path of every request meets.
    pub(super) fn drop_slash(&mut self) {
        self.uri.take_if(|uri| matches!(uri.text_at(&["prefix"]), Some("/" | "")));
    }

    /// Tells whether every request meets it.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds that a header is there and passes a test; `{}` is passed by every value.
    pub(super) fn with(&mut self, name: &str, test: &Tree) -> Result<(), Clash> {
        if self.without.iter().any(|(known, own)| known == name && is_presence(own)) {
            return Err(Clash::Never);
        }
        if name == ":method" && self.method.is_none() && !is_presence(test) {
            self.method = Some(test.clone());
            return Ok(());
        }
        match self.headers.iter_mut().find(|(known, _)| known == name) {
            None => self.headers.push((name.to_owned(), test.clone())),
            Some((_, own)) if is_presence(own) => *own = test.clone(),
            Some((_, own)) if is_presence(test) || own == test => {}
            Some(_) => return Err(Clash::Unwritable),
        }
        Ok(())
    }

    /// Adds that a header does not pass a test, or is missing; `{}`: it is missing. A missing one counts as empty.
    pub(super) fn without(&mut self, name: &str, test: &Tree) -> Result<(), Clash> {
        if is_presence(test) {
            if self.headers.iter().any(|(known, _)| known == name) {
                return Err(Clash::Never);
            }
            if self.without.iter().any(|(known, own)| known == name && takes_empty(own) && !is_presence(own)) {
                return Err(Clash::Never);
            }
            self.without.retain(|(known, _)| known != name);
            self.without.push((name.to_owned(), test.clone()));
            return Ok(());
        }
        match self.without.iter_mut().find(|(known, _)| known == name) {
            None => self.without.push((name.to_owned(), test.clone())),
            Some((_, own)) if is_presence(own) => {
                return if takes_empty(test) { Err(Clash::Never) } else { Ok(()) };
            }
            Some((_, own)) => *own = Tree::field("regex", format!("({})|({})", regex(own), regex(test))),
        }
        Ok(())
    }

    /// Adds a condition on a query parameter.
    pub(super) fn query(&mut self, name: &str, test: &Tree) -> Result<(), Clash> {
        match self.query.iter_mut().find(|(known, _)| known == name) {
            None => self.query.push((name.to_owned(), test.clone())),
            Some((_, own)) if is_presence(own) => *own = test.clone(),
            Some((_, own)) if is_presence(test) || own == test => {}
            Some(_) => return Err(Clash::Unwritable),
        }
        Ok(())
    }

    /// Writes it.
    pub(super) fn write(&self) -> Tree {
        let map = |fields: &[(String, Tree)]| (!fields.is_empty()).then(|| Tree::Map(fields.to_vec()));
        let exact = |text: &Option<String>| text.as_ref().map(|text| Tree::field("exact", text.clone()));
        Tree::map([
            ("authority", self.authority.clone()),
            ("uri", self.uri.clone()),
            ("ignoreUriCase", (self.ignores_uri_case && self.uri.is_some()).then_some(true.into())),
            ("method", self.method.clone()),
            ("headers", map(&self.headers)),
            ("withoutHeaders", map(&self.without)),
            ("queryParams", map(&self.query)),
            ("routeName", exact(&self.route)),
            ("clusterName", exact(&self.cluster)),
        ])
    }
}

/// Tells whether a test is passed by every value.
pub(super) fn is_presence(test: &Tree) -> bool {
    test.fields().is_empty()
}

/// Tells whether an empty value passes a test.
pub(super) fn takes_empty(test: &Tree) -> bool {
    let is_empty = |kind: &str| test.text_at(&[kind]) == Some("");
    let regex = test.text_at(&["regex"]).and_then(|text| regex_syntax::parse(text).ok());
    is_presence(test)
        || ["exact", "prefix", "suffix", "contains"].into_iter().any(is_empty)
        || regex.is_some_and(|regex| regex.properties().minimum_len() == Some(0))
}

/// Writes a test as a regular expression.
fn regex(test: &Tree) -> String {
    let text = |kind: &str| test.text_at(&[kind]);
    let written = match (text("exact"), text("prefix"), text("suffix"), text("contains"), text("regex")) {
        (Some(text), ..) => literal(text),
        (_, Some(text), ..) => format!("{}.*", literal(text)),
        (_, _, Some(text), ..) => format!(".*{}", literal(text)),
        (_, _, _, Some(text), _) => format!(".*{}.*", literal(text)),
        (.., text) => text.unwrap_or(".*").to_owned(),
    };
    if test.get("ignoreCase").is_some() { format!("(?i:{written})") } else { written }
}
