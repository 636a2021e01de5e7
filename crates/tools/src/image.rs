//! Pictures by what they begin with, never by name: PNG, JPEG, GIF, WebP.
//!
//! Decodes nothing. Start at [`media_type`].

use contract::limits::IMAGE_BYTES;
use contract::model::Image;
use contract::tool::Output;

/// Bytes that have to be seen to tell a picture.
const HEAD: usize = 12;

/// The media type of a picture that providers take, by its first bytes.
pub(crate) fn media_type(start: &[u8]) -> Option<&'static str> {
    let webp = start.len() >= HEAD && start.starts_with(b"RIFF") && &start[8..HEAD] == b"WEBP";
    match start {
        _ if start.starts_with(b"\x89PNG\r\n\x1a\n") => Some("image/png"),
        _ if start.starts_with(b"\xff\xd8\xff") => Some("image/jpeg"),
        _ if start.starts_with(b"GIF87a") || start.starts_with(b"GIF89a") => Some("image/gif"),
        _ if webp => Some("image/webp"),
        _ => None,
    }
}

/// A picture as an output: one line of text for who cannot see it, and the picture.
pub(crate) fn output(name: &str, media_type: &str, bytes: Vec<u8>) -> Output {
    let text = format!("`{name}` is a picture: {media_type}, {} bytes", bytes.len());
    Output { images: vec![Image { media_type: media_type.to_owned(), bytes }], ..Output::ok(text) }
}

/// Why a picture is not shown.
pub(crate) fn too_large(name: &str, size: u64) -> String {
    format!(
        "`{name}` is a picture of {size} bytes; at most {IMAGE_BYTES} can be shown. Make it smaller first"
    )
}
