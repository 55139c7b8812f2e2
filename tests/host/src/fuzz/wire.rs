//! Header maps in the ABI's encoding: a count, the lengths of each name and value, each name and value ended by a zero.

use crate::host::Headers;

/// Reads what is whole of a buffer, up to what is cut off.
pub fn lenient(buffer: &[u8]) -> Headers {
    let mut pairs = Headers::new();
    let Some(count) = number(buffer, 0) else { return pairs };
    let Some(mut at) = count.checked_mul(8).map(|sizes| sizes + 4).filter(|at| *at <= buffer.len()) else {
        return pairs;
    };
    let mut text = |length: usize| {
        let text = buffer.get(at..at + length)?.to_vec();
        at += length + 1;
        (at <= buffer.len()).then_some(text)
    };
    for pair in 0..count {
        let lengths = (number(buffer, 4 + 8 * pair).unwrap(), number(buffer, 8 + 8 * pair).unwrap());
        let (Some(name), Some(value)) = (text(lengths.0), text(lengths.1)) else { break };
        pairs.push((name, value));
    }
    pairs
}

/// Reads a buffer from its first byte to its last; `None` where anything is missing or left over.
pub fn strict(buffer: &[u8]) -> Option<Headers> {
    let pairs = lenient(buffer);
    let sizes = pairs.iter().map(|(name, value)| 8 + name.len() + 1 + value.len() + 1);
    let is_whole = number(buffer, 0)? == pairs.len() && 4 + sizes.sum::<usize>() == buffer.len();
    is_whole.then_some(pairs)
}

/// Writes pairs as [`strict`] reads them.
pub fn write(pairs: &Headers) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut buffer = number(pairs.len()).to_vec();
    buffer.extend(pairs.iter().flat_map(|(name, value)| [number(name.len()), number(value.len())].concat()));
    buffer.extend(pairs.iter().flat_map(|(name, value)| [name, &b"\0"[..], value, b"\0"].concat()));
    buffer
}

fn number(buffer: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(buffer.get(at..at + 4)?.try_into().unwrap()) as usize)
}
