//! From the bytes of a file to its text.

/// Decodes UTF-8 and UTF-16, each with and without a byte order mark.
///
/// # Errors
/// What the bytes are instead, and what to do.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, String> {
    // What PowerShell makes of `kubectl get -o yaml > file`.
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks(2).map(|pair| match pair {
            [one, other] => unit([*one, *other]),
            _ => char::REPLACEMENT_CHARACTER as u16,
        });
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.map_err(|_| "not text: neither UTF-8 nor UTF-16".to_owned())
    };
    match &*bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => Err("UTF-32: save the file as UTF-8".to_owned()),
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        [one, 0, ..] if *one != 0 => wide(&bytes, u16::from_le_bytes),
        [0, one, ..] if *one != 0 => wide(&bytes, u16::from_be_bytes),
        [0x1F, 0x8B, ..] => Err("compressed with gzip: unpack it first".to_owned()),
        [b'P', b'K', 3, 4, ..] => Err("a zip archive: unpack it first".to_owned()),
        _ if bytes.contains(&0) => Err("not text: it has a zero byte".to_owned()),
        _ => {
            let text = String::from_utf8(bytes).map_err(|error| {
                let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
                let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
                format!("line {line}: not UTF-8: save the file as UTF-8")
            })?;
            Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_one_of_three_encodings() {
        let wide = |mark: &[u8], unit: fn(u16) -> [u8; 2]| {
            [mark, &"a: ü😀".encode_utf16().flat_map(unit).collect::<Vec<_>>()].concat()
        };
        for bytes in [
            "a: ü😀".as_bytes().to_vec(),
            "\u{feff}a: ü😀".as_bytes().to_vec(),
            wide(&[0xFF, 0xFE], u16::to_le_bytes),
            wide(&[0xFE, 0xFF], u16::to_be_bytes),
            wide(&[], u16::to_le_bytes),
            wide(&[], u16::to_be_bytes),
        ] {
            assert_eq!(text(bytes.clone()).as_deref(), Ok("a: ü😀"), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_text_is_told_with_what_to_do() {
        for (bytes, expected) in [
            (&[0x1F, 0x8B, 8, 0][..], "compressed with gzip: unpack it first"),
            (b"PK\x03\x04", "a zip archive: unpack it first"),
            (b"a: b\nc: \xFC\n", "line 2: not UTF-8: save the file as UTF-8"),
            (&[0xFF, 0xFE, 0, 0, b'a', 0, 0, 0], "UTF-32: save the file as UTF-8"),
            (b"abc\0", "not text: it has a zero byte"),
            (&[0xFF, 0xFE, 0x00, 0xD8], "not text: neither UTF-8 nor UTF-16"),
        ] {
            assert_eq!(text(bytes.to_vec()), Err(expected.to_owned()));
        }
        assert_eq!(text(Vec::new()).as_deref(), Ok(""));
    }
}
