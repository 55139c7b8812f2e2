//! Where responses differ: each place once, as the label of a metric.

/// The most places of one pair.
pub(super) const MOST: usize = 64;

/// The longest label, in characters.
const LONGEST: usize = 96;

/// Places, each once.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Box<str>>);

impl Places {
    /// Adds the place with this label.
    pub(super) fn add(&mut self, label: impl Iterator<Item = char>) {
        let label: String =
            label.take(LONGEST).map(|character| if is_allowed(character) { character } else { '_' }).collect();
        if let Err(at) = self.0.binary_search_by(|known| (**known).cmp(&label))
            && self.0.len() < MOST
        {
            self.0.insert(at, label.into());
        }
    }

    pub(super) fn into_list(self) -> Vec<Box<str>> {
        self.0
    }
}

/// Returns whether a character may stand in a label: others might be read as part of a metric's name.
fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '/' | '*' | '-')
}
