//! Width and height of a picture, from the first bytes of its file: PNG, GIF, WebP, JPEG.
//!
//! Decodes nothing and knows no vendor: what a size means in tokens is the kernel's. Start at [`pixels`].

/// Width and height in pixels; `None` = they are not told where they should be.
pub(super) fn pixels(file: &[u8]) -> Option<(u32, u32)> {
    let size = match file {
        _ if file.starts_with(b"\x89PNG\r\n\x1a\n") => png(file),
        _ if file.starts_with(b"GIF8") => gif(file),
        _ if file.starts_with(b"RIFF") => webp(file),
        _ if file.starts_with(b"\xff\xd8") => jpeg(file),
        _ => None,
    };
    size.filter(|(width, height)| *width > 0 && *height > 0)
}

/// A number of two bytes from here on, the least of them first.
fn little(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?)))
}

/// The same, the greatest first.
fn big(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_be_bytes(file.get(at..at + 2)?.try_into().ok()?)))
}

/// The header is the first chunk.
fn png(file: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_be_bytes(file.get(at..at + 4)?.try_into().ok()?));
    (file.get(12..16)? == b"IHDR").then_some(())?;
    Some((number(16)?, number(20)?))
}

/// Of its screen, which all its frames lie in.
fn gif(file: &[u8]) -> Option<(u32, u32)> {
    Some((little(file, 6)?, little(file, 8)?))
}

/// In the first chunk, which is one of three kinds.
fn webp(file: &[u8]) -> Option<(u32, u32)> {
    const SIDE: u32 = 0x3fff;
    match file.get(12..16)? {
        b"VP8 " => Some((little(file, 26)? & SIDE, little(file, 28)? & SIDE)),
        b"VP8L" => {
            let bits = u32::from_le_bytes(file.get(21..25)?.try_into().ok()?);
            Some(((bits & SIDE) + 1, (bits >> 14 & SIDE) + 1))
        }
        b"VP8X" => {
            let number = |at: usize| Some(little(file, at)? | u32::from(*file.get(at + 2)?) << 16);
            Some((number(24)? + 1, number(27)? + 1))
        }
        _ => None,
    }
}

/// In the segment that begins a frame; the others before it are passed over by their lengths.
fn jpeg(file: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let marker = *file.get(at + 1).filter(|_| file[at] == 0xff)?;
        match marker {
            // A filling byte.
            0xff => at += 1,
            0x01 | 0xd0..=0xd8 => at += 2,
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Some((big(file, at + 7)?, big(file, at + 5)?));
            }
            // The picture itself, or its end, and nobody said how large it is.
            0xd9 | 0xda => return None,
            _ => at += 2 + big(file, at + 2)? as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_files_as_programs_write_them() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x04\x00\0\0\x03\x00\x08\x06\0\0\0";
        let gif = b"GIF89a\x40\x01\xc8\x00\xf7\0\0";
        let lossy = b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0\x30\x01\0\x9d\x01\x2a\x80\x02\xe0\x01\x02";
        let lossless = b"RIFF\x24\0\0\0WEBPVP8L\x18\0\0\0\x2f\x7f\xc2\x77\x00\x10";
        let extended = b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\x7f\x02\0\xdf\x01\0";
        let jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xff\xc0\0\x11\x08\x01\xe0\x02\x80\x03\x01";
        for (file, size) in [
            (&png[..], Some((1024, 768))),
            (gif, Some((320, 200))),
            (lossy, Some((640, 480))),
            (lossless, Some((640, 480))),
            (extended, Some((640, 480))),
            (jpeg, Some((640, 480))),
            (b"\xff\xd8\xff\xda\0\x02", None),
            (b"<svg/>", None),
        ] {
            assert_eq!(pixels(file), size, "{}", String::from_utf8_lossy(file));
        }
    }

    #[test]
    fn a_file_cut_anywhere_has_no_size_and_breaks_nothing() {
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc2\0\x11\x08\0\x05\0\x07\x03\x01";
        assert_eq!(pixels(jpeg), Some((7, 5)));
        for end in 0..jpeg.len() - 2 {
            assert_eq!(pixels(&jpeg[..end]), None, "{end}");
        }
        assert_eq!(pixels(b"\xff\xd8\xff\xff\xff\xff"), None);
        assert_eq!(pixels(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\0\0"), None);
    }
}
