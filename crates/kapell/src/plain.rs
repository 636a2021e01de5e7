//! Files that somebody else may have made: read when they are plain files, and no further than a limit.
//!
//! A link is followed, but not to a device, a pipe or what the kernel makes up (`/proc`): those have no end, or wait for
//! ever. Knows no content. Start at [`read`].

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The file's bytes; an error where it is no plain file or holds more than `most`.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let bytes = beginning(path, most.saturating_add(1))?;
    if bytes.len() as u64 > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// The same as text.
pub(crate) fn text(path: &Path, most: u64) -> Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// At most so many of the file's bytes.
pub(crate) fn beginning(path: &Path, most: u64) -> Result<Vec<u8>> {
    let plain = |meta: std::fs::Metadata| match meta.is_file() {
        true => Ok(meta.len()),
        false => Err(Error::new(ErrorKind::InvalidInput, "it is not a plain file")),
    };
    // Looked at before, since opening a device may act on it, and after, since it may be another one by then.
    plain(std::fs::metadata(path)?)?;
    let at_once = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(at_once).open(path)?;
    let mut bytes = Vec::new();
    // What the kernel makes up as it is read has no length.
    if plain(file.metadata()?)? > 0 {
        file.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_has_no_end_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("plain"), "0123456789").unwrap();
        symlink("plain", path("link")).unwrap();
        assert_eq!(read(&path("link"), 10).unwrap(), b"0123456789");
        assert_eq!(beginning(&path("link"), 4).unwrap(), b"0123");
        assert_eq!(read(&path("link"), 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
        for (name, to) in [("zero", "/dev/zero"), ("dir", "."), ("gone", "nowhere")] {
            symlink(to, path(name)).unwrap();
            assert!(read(&path(name), 1 << 20).is_err(), "{name}");
        }
        symlink("/proc/self/pagemap", path("pages")).unwrap();
        assert_eq!(read(&path("pages"), 1 << 20).unwrap(), b"");
        // Nobody ever writes to it: whoever waits, waits for ever.
        let made = std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap();
        assert!(made.success() && read(&path("fifo"), 1 << 20).is_err());
    }
}
