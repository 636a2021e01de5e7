//! Pictures on the wire: base64 (RFC 4648, section 4) and the formats that servers see.
//!
//! Knows no file. Start at [`base64`].

use contract::model::Image;

/// What every vendor's models see.
const SEEN: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Can models see it?
pub fn is_seen(image: &Image) -> bool {
    SEEN.contains(&image.media_type.as_str())
}

/// Said in place of a picture that they cannot see.
pub fn unseen(image: &Image) -> String {
    format!("[a picture of type {}, which this model cannot see]", image.media_type)
}

/// These bytes in base64, padded.
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// The picture as a `data:` URL (RFC 2397).
pub fn data_url(image: &Image) -> String {
    format!("data:{};base64,{}", image.media_type, base64(&image.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn formats() {
        let image = |media_type: &str| Image { media_type: media_type.into(), bytes: b"f".to_vec() };
        assert!(is_seen(&image("image/png")) && !is_seen(&image("image/svg+xml")));
        assert_eq!(data_url(&image("image/png")), "data:image/png;base64,Zg==");
        assert!(unseen(&image("image/tiff")).contains("image/tiff"));
    }
}
