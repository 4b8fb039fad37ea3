//! Files that people write, as text.
//!
//! **Invariant:** no byte is guessed: what is not UTF-8 is refused with its place, unless it says of itself that it is UTF-16.

use std::fmt;

/// What to do about a file that is not UTF-8.
pub const SAVE_AS_UTF8: &str = "save the file as UTF-8; in Notepad: Save as, Encoding: UTF-8";

/// Why bytes are no UTF-8 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotUtf8 {
    /// They begin as UTF-16 does, or hold zeroes.
    Utf16,
    /// This byte is none of UTF-8: Latin-1, GBK and others have such.
    Byte {
        /// Which.
        byte: u8,
        /// Its line, from 1.
        line: u32,
        /// Its column, from 1, in characters.
        column: u32,
    },
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf16 => f.write_str("this file is UTF-16 or no text, and must be UTF-8"),
            Self::Byte { byte, .. } => write!(f, "byte 0x{byte:02x} is not UTF-8"),
        }
    }
}

/// The bytes of a file as text.
pub fn utf8(bytes: &[u8]) -> Result<&str, NotUtf8> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) || bytes.contains(&0) {
        return Err(NotUtf8::Utf16);
    }
    std::str::from_utf8(bytes).map_err(|problem| {
        let (line, column) = end_of(&bytes[..problem.valid_up_to()]);
        NotUtf8::Byte { byte: bytes.get(problem.valid_up_to()).copied().unwrap_or_default(), line, column }
    })
}

/// The text of bytes that begin with the byte order mark of UTF-16, as "Unicode text" of a spreadsheet does (RFC 2781 §3.2).
pub fn utf16(bytes: &[u8]) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xFF, 0xFE, ..] => u16::from_le_bytes,
        [0xFE, 0xFF, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let (pairs, rest) = bytes[2..].as_chunks::<2>();
    let text = char::decode_utf16(pairs.iter().copied().map(unit)).collect::<Result<String, _>>().ok()?;
    (rest.is_empty() && !text.contains('\0')).then_some(text)
}

/// The line and column that follow a text.
fn end_of(good: &[u8]) -> (u32, u32) {
    let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let column = good[start..].iter().filter(|byte| (**byte & 0xC0) != 0x80).count() + 1;
    (line as u32, column as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_byte_has_a_line_and_a_column() {
        assert_eq!(end_of(b""), (1, 1));
        assert_eq!(end_of("name\nx = \"é".as_bytes()), (2, 7));
        assert_eq!(utf8(b"a\n\xb5\xa5"), Err(NotUtf8::Byte { byte: 0xb5, line: 2, column: 1 }));
        assert_eq!(utf8("网吧".as_bytes()), Ok("网吧"));
    }

    #[test]
    fn utf_16_is_text_where_it_says_so() {
        let encoded = |text: &str, mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
            [mark.to_vec(), text.encode_utf16().flat_map(bytes).collect()].concat()
        };
        for text in ["", "座位\t网卡\r\n", "\u{1F431}"] {
            for bytes in [encoded(text, [0xFF, 0xFE], u16::to_le_bytes), encoded(text, [0xFE, 0xFF], u16::to_be_bytes)] {
                assert_eq!(utf16(&bytes).as_deref(), Some(text));
                assert_eq!(utf8(&bytes), Err(NotUtf8::Utf16));
            }
        }
        for bytes in [&b"pc01"[..], b"\xFF\xFEa", b"\xFF\xFE\x00\xD8", b"\xFF\xFE\x00\x00"] {
            assert_eq!(utf16(bytes), None, "{bytes:?}");
        }
    }
}
