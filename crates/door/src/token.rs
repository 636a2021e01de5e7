//! The token of one start: who can read its file is one of the person's own programs.
//!
//! Knows files and randomness, no request. Start at [`Token::create`].

use contract::{Digest, Fault, Kind};
use ring::rand::{SecureRandom, SystemRandom};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a token; it is written in hexadecimal.
const BYTES: usize = 32;

/// A token in a file that only its owner can read. The file goes with this value.
pub(crate) struct Token {
    text: String,
    pub(crate) file: PathBuf,
}

impl Token {
    /// A new one in `PORT.token` of this directory, which is made where it is missing, for its owner only.
    pub(crate) fn create(dir: &Path, port: u16) -> Result<Self, Fault> {
        let file = dir.join(format!("{port}.token"));
        let failed = |why: &dyn std::fmt::Display| {
            let what = format!("cannot write the token of this start to {}: {why}", file.display());
            Fault::new(Kind::UserFixable, "no-token", what)
                .hint("make that directory writable for you alone, or set KAPELL_HOME=/some/directory")
        };
        let text = secret().map_err(|why| failed(&why))?;
        write_private(&file, text.as_bytes()).map_err(|error| failed(&error))?;
        Ok(Self { text, file })
    }

    /// What a given token is compared with: the time that takes says nothing of the token.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // One that stays opens nothing: the next start has another. Whoever has the port now may have written theirs.
        if std::fs::read_to_string(&self.file).is_ok_and(|text| text == self.text) {
            drop(std::fs::remove_file(&self.file));
        }
    }
}

/// 256 random bits, in hexadecimal.
pub fn secret() -> Result<String, &'static str> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file that only its owner can read, in a directory that only they can enter, which is made where it is missing.
/// Readers see all of it or what was there before, after a power cut too: it gets its name when it is written.
pub fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut rights = std::fs::metadata(dir)?.permissions();
    if rights.mode() & 0o077 != 0 {
        rights.set_mode(0o700);
        std::fs::set_permissions(dir, rights)?;
    }
    let new = file.with_extension(format!("{}.new", std::process::id()));
    // Of an earlier process with this number, that was killed here.
    drop(std::fs::remove_file(&new));
    let mut open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    std::fs::rename(&new, file)?;
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_its_owner_new_each_time_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/b");
        let first = Token::create(&dir, 1).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&first.file)), (0o700, 0o600));
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
        let second = Token::create(&dir, 1).unwrap();
        assert_eq!(mode(&dir), 0o700);
        assert!(first.digest() != second.digest() && first.text.len() == 2 * BYTES);
        drop(first);
        assert_eq!(
            std::fs::read_to_string(&second.file).unwrap(),
            second.text,
            "the first one's is gone already"
        );
        let file = second.file.clone();
        drop(second);
        assert!(!file.exists());
    }

    #[test]
    fn where_nothing_can_be_written_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let Err(fault) = Token::create(&dir.path().join("file"), 1) else { panic!("a file is no directory") };
        assert!(fault.code == "no-token" && !fault.hint.is_empty(), "{fault:?}");
    }
}
