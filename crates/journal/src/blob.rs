//! Content-addressed bytes at rest: one envelope for rows, files and snapshots.
//!
//! Envelope: codec (1 byte), length of the raw bytes (8 bytes, little endian), then the bytes, compressed or not.
//! The address is the digest of the raw bytes. A file that was taken over ([`adopt`]) has no envelope: it is read
//! in pieces, and its name says so. Knows no SQL. Start at [`Packed`].

use contract::digest::Hasher;
use contract::tool::Spooled;
use contract::{Digest, Fault, Kind, limits};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Stored as they are.
const PLAIN: u8 = 0;
/// LZ4 block.
const LZ4: u8 = 1;
/// Codec and length.
const HEADER_BYTES: usize = 9;
/// LZ4 cannot expand further than this, so a larger claim is damage, not a reason to allocate.
const LZ4_MOST: u64 = 255;
/// What names of unfinished files begin with.
const UNFINISHED: &str = ".new-";

/// A blob, ready to be stored.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Its address.
    pub(crate) digest: Digest,
    /// Bytes before compression.
    pub(crate) size: usize,
    /// The envelope.
    pub(crate) bytes: Vec<u8>,
}

impl Packed {
    /// Hashes and, where it helps, compresses.
    pub(crate) fn new(raw: &[u8]) -> Self {
        Self { digest: Digest::of(raw), size: raw.len(), bytes: pack(raw) }
    }

    /// Larger blobs are files, so that they bloat neither the log's pages nor its cache.
    pub(crate) fn is_file(&self) -> bool {
        self.size > limits::BLOB_ROW_BYTES
    }
}

/// The envelope of these bytes.
pub(crate) fn pack(raw: &[u8]) -> Vec<u8> {
    let compressed = (raw.len() >= limits::BLOB_PLAIN_BYTES).then(|| lz4_flex::block::compress(raw));
    let (codec, body) = match &compressed {
        Some(smaller) if smaller.len() < raw.len() => (LZ4, smaller.as_slice()),
        _ => (PLAIN, raw),
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.push(codec);
    bytes.extend_from_slice(&(raw.len() as u64).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The raw bytes in an envelope, or what is wrong with it.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or("it is cut short")?;
    let [codec, size @ ..] = *header;
    let size = u64::from_le_bytes(size);
    match codec {
        PLAIN if size == body.len() as u64 => Ok(body.to_vec()),
        LZ4 if size <= (body.len() as u64).saturating_mul(LZ4_MOST) => {
            lz4_flex::block::decompress(body, size as usize).map_err(|_| "it does not decompress")
        }
        PLAIN | LZ4 => Err("its length is not what it says"),
        _ => Err("its codec is unknown"),
    }
}

/// The raw bytes in an envelope, when they are what the address says.
pub(crate) fn open(digest: Digest, bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let raw = unpack(bytes)?;
    if Digest::of(&raw) == digest { Ok(raw) } else { Err("its digest is another") }
}

/// The fault for a blob that cannot be had.
pub(crate) fn fault(digest: Digest, code: &str, why: &str) -> Fault {
    Fault::new(Kind::Permanent, code, format!("blob {digest} cannot be read: {why}"))
        .hint("run `kapell verify` to see what else is damaged; a backup may still hold it")
}

/// Where a large blob's file is.
pub(crate) fn path(blobs: &Path, digest: Digest) -> PathBuf {
    blobs.join(digest.to_string())
}

/// Writes a large blob's file and syncs it; the directory is synced by [`sync_dir`] before the commit.
/// Called under the store's write lock, so no two processes write the same name at once.
pub(crate) fn write_file(blobs: &Path, packed: &Packed) -> io::Result<()> {
    let unfinished = blobs.join(format!("{UNFINISHED}{}", packed.digest));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(&packed.bytes).and_then(|()| file.sync_all()));
    let placed = written.and_then(|()| fs::rename(&unfinished, path(blobs, packed.digest)));
    if placed.is_err() {
        // What is left would only take space on a disk that may be full; a sweep removes it otherwise.
        let _ = fs::remove_file(&unfinished);
    }
    placed
}

/// What names of files without envelope end with.
const RAW: &str = ".raw";
/// Bytes of such a file that are read at once.
const PIECE: usize = 128 * 1024;

/// Where a file that was taken over is.
pub(crate) fn raw_path(blobs: &Path, digest: Digest) -> PathBuf {
    blobs.join(format!("{digest}{RAW}"))
}

/// Takes over a file, which was synced by who wrote it. Called as [`write_file`] is.
pub(crate) fn adopt(blobs: &Path, file: &Spooled) -> io::Result<()> {
    let place = raw_path(blobs, file.digest);
    match fs::rename(&file.path, &place) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy_raw(&file.path, blobs, file.digest)?;
            fs::remove_file(&file.path)
        }
        renamed => renamed,
    }
}

/// Copies a file without envelope into place, synced.
pub(crate) fn copy_raw(from: &Path, blobs: &Path, digest: Digest) -> io::Result<()> {
    let unfinished = blobs.join(format!("{UNFINISHED}{digest}"));
    let copied = fs::copy(from, &unfinished).and_then(|_| File::open(&unfinished)?.sync_all());
    let placed = copied.and_then(|()| fs::rename(&unfinished, raw_path(blobs, digest)));
    if placed.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    placed
}

/// The file without envelope at this address, read once through and at its beginning again; `None` = there is none.
pub(crate) fn raw(blobs: &Path, digest: Digest) -> Result<Option<File>, String> {
    let mut file = match File::open(raw_path(blobs, digest)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| error.to_string())?,
    };
    let mut hash = || {
        let (mut hasher, mut piece) = (Hasher::default(), vec![0; PIECE]);
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => hasher.update(&piece[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        file.rewind()?;
        Ok(hasher.digest())
    };
    match hash() {
        Ok(found) if found == digest => Ok(Some(file)),
        Ok(_) => Err("its digest is another".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Makes renames in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// What a file name in the blob directory stands for.
pub(crate) enum Name {
    /// A finished blob.
    Blob(Digest),
    /// A write that never finished.
    Unfinished,
    /// Not ours: left alone.
    Foreign,
}

/// Reads a file name of the blob directory.
pub(crate) fn name(name: &str) -> Name {
    match name.strip_prefix(UNFINISHED) {
        Some(digest) if digest.parse::<Digest>().is_ok() => Name::Unfinished,
        Some(_) => Name::Foreign,
        None => name.strip_suffix(RAW).unwrap_or(name).parse().map_or(Name::Foreign, Name::Blob),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_small_compressible_and_incompressible() {
        let noise: Vec<u8> = (0..64u32).flat_map(|i| Digest::of(&i.to_le_bytes()).0).collect();
        for raw in [Vec::new(), b"short".to_vec(), vec![7; 100_000], noise] {
            let packed = Packed::new(&raw);
            assert!(packed.bytes.len() <= raw.len() + HEADER_BYTES);
            assert_eq!(open(packed.digest, &packed.bytes).unwrap(), raw);
        }
        assert!(pack(&[7; 100_000]).len() < 1_000);
    }

    #[test]
    fn any_flipped_bit_is_noticed_without_a_large_allocation() {
        let packed = Packed::new(&b"some text that repeats, some text that repeats. ".repeat(20));
        for at in 0..packed.bytes.len() {
            for bit in 0..8 {
                let mut bytes = packed.bytes.clone();
                bytes[at] ^= 1 << bit;
                // A flip in the length may leave the same raw bytes behind; other bytes never.
                if let Ok(raw) = open(packed.digest, &bytes) {
                    assert_eq!(Digest::of(&raw), packed.digest, "byte {at} bit {bit}");
                }
            }
        }
    }
}
