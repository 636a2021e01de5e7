//! The escapes of `$'...'`. Start at [`decode`].

/// The text, and how many bytes of `rest` it took with the closing quote. `None`: no end, or a zero byte, behind which
/// the shell drops the rest of the text.
pub(crate) fn decode(rest: &str) -> Option<(String, usize)> {
    let bytes = rest.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        match *bytes.get(at)? {
            b'\'' => return Some((String::from_utf8(out).ok()?, at + 1)),
            b'\\' => at = escape(bytes, at + 1, &mut out)?,
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

fn escape(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let number = |from: usize, most: usize, radix: u32| -> (u32, usize) {
        let digit = |byte: &u8| char::from(*byte).to_digit(radix);
        let digits = bytes[from..].iter().take(most).map_while(digit);
        digits.fold((0, from), |(sum, at), digit| (sum * radix + digit, at + 1))
    };
    let plain = match *bytes.get(at)? {
        b'a' => 7,
        b'b' => 8,
        b'e' | b'E' => 27,
        b'f' => 12,
        b'n' => 10,
        b'r' => 13,
        b't' => 9,
        b'v' => 11,
        other @ (b'\\' | b'\'' | b'"' | b'?') => other,
        b'0'..=b'7' => {
            let (value, end) = number(at, 3, 8);
            out.push(u8::try_from(value & 255).ok().filter(|byte| *byte != 0)?);
            return Some(end);
        }
        b'x' => {
            let (value, end) = number(at + 1, 2, 16);
            out.push(u8::try_from(value).ok().filter(|byte| *byte != 0)?);
            return Some(end);
        }
        kind @ (b'u' | b'U') => {
            let (value, end) = number(at + 1, if kind == b'u' { 4 } else { 8 }, 16);
            let c = char::from_u32(value).filter(|c| *c != '\0')?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(end);
        }
        // Whether the next sign can end the quote is not the same in every shell.
        b'c' => return None,
        other => {
            out.push(b'\\');
            other
        }
    };
    out.push(plain);
    Some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn escapes_become_what_the_shell_sees() {
        for (text, is) in [
            (r"\x72m'", "rm"),
            (r"\162\155' x", "rm"),
            (r"a\'b'", "a'b"),
            (r"\u0072\n'", "r\n"),
            (r"\q'", r"\q"),
            (r"\U0001F600'", "😀"),
        ] {
            assert_eq!(decode(text).unwrap().0, is, "{text}");
        }
        for text in [r"a\0b'", "a", r"\", r"\x'", r"\xff'", r"\c'; x #'"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
