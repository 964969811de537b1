//! The 256 characters that stand for bytes in the files of byte-level tokenisers.
//!
//! GPT-2's table: bytes that print in Latin-1 stand for themselves, the 68 others follow from U+0100 in their order.
//! So a token is a readable string of JSON even where it is a space, a control or half a character.

/// The character that stands for `byte`.
pub(crate) fn byte_to_char(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        0..=b' ' => offset(u32::from(byte)),
        0x7F..=0xA0 => offset(u32::from(byte) - 0x7F + 33),
        0xAD => offset(67),
    }
}

/// The byte that `c` stands for.
pub(crate) fn char_to_byte(c: char) -> Option<u8> {
    let code = u32::from(c);
    let byte = match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7F,
        0x143 => 0xAD,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// Puts the bytes that `token` stands for in place of `bytes`, or gives its first character that stands for none.
pub(crate) fn token_to_bytes(token: &str, bytes: &mut Vec<u8>) -> Result<(), char> {
    bytes.clear();
    for c in token.chars() {
        bytes.push(char_to_byte(c).ok_or(c)?);
    }
    Ok(())
}

/// The string that stands for `bytes`.
pub(crate) fn bytes_to_token(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| byte_to_char(byte)).collect()
}

fn offset(n: u32) -> char {
    char::from_u32(0x100 + n).expect("below the surrogates")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_printing_character() {
        let mut seen = std::collections::HashSet::new();
        for byte in 0..=255 {
            let c = byte_to_char(byte);
            assert!(
                !c.is_whitespace() && !c.is_control() && seen.insert(c),
                "{byte:#x} is {c:?}"
            );
            assert_eq!(char_to_byte(c), Some(byte));
        }
        assert_eq!(
            (byte_to_char(b' '), byte_to_char(b'\n'), byte_to_char(0xAD)),
            ('Ġ', 'Ċ', 'Ń')
        );
        assert_eq!(
            (char_to_byte(' '), char_to_byte('가'), char_to_byte('\u{144}')),
            (None, None, None)
        );
    }
}
