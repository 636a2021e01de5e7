//! Texts that were written or read lately, kept in memory within a bound: a conversation is read again at each step.
//!
//! Knows the Blobs port below it. Content-addressed bytes never change, so nothing here can be stale. Start at [`Recent`].

use contract::port::Blobs;
use contract::tool::Spooled;
use contract::{BoxFuture, Digest, Fault, limits};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::io::BufRead;
use std::sync::Arc;

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Digest, Arc<[u8]>> for Bytes {
    fn weight(&self, _: &Digest, bytes: &Arc<[u8]>) -> u64 {
        (bytes.len() + size_of::<Digest>()) as u64
    }
}

/// A bounded memory before another store of blobs.
pub(crate) struct Recent {
    below: Arc<dyn Blobs>,
    cache: Cache<Digest, Arc<[u8]>, Bytes>,
}

/// Entries the cache plans for; only its bytes are bounded.
const ENTRIES: usize = 4_096;

impl Recent {
    pub(crate) fn new(below: Arc<dyn Blobs>) -> Self {
        Self { below, cache: Cache::with_weighter(ENTRIES, limits::RECENT_BYTES, Bytes) }
    }

    /// What has just become durable.
    pub(crate) fn keep(&self, blobs: Vec<Vec<u8>>) {
        for blob in blobs.into_iter().filter(|blob| blob.len() <= limits::BLOB_ROW_BYTES) {
            self.cache.insert(Digest::of(&blob), blob.into());
        }
    }
}

impl Blobs for Recent {
    fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(async move {
            if let Some(bytes) = self.cache.get(&digest) {
                return Ok(bytes.to_vec());
            }
            let bytes = self.below.blob(digest).await?;
            if bytes.len() <= limits::BLOB_ROW_BYTES {
                self.cache.insert(digest, bytes.as_slice().into());
            }
            Ok(bytes)
        })
    }

    fn open(&self, digest: Digest) -> BoxFuture<'_, Result<Box<dyn BufRead + Send>, Fault>> {
        self.below.open(digest)
    }

    fn adopt(&self, file: Spooled) -> BoxFuture<'_, Result<(), Fault>> {
        self.below.adopt(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Below(AtomicU64);

    impl Blobs for Below {
        fn blob(&self, _: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(b"text".to_vec()) })
        }
    }

    #[tokio::test]
    async fn what_was_kept_or_read_is_not_read_again() {
        let below = Arc::new(Below::default());
        let recent = Recent::new(below.clone());
        recent.keep(vec![b"kept".to_vec()]);
        assert_eq!(recent.blob(Digest::of(b"kept")).await.unwrap(), b"kept");
        assert_eq!(below.0.load(Ordering::Relaxed), 0);
        for _ in 0..3 {
            assert_eq!(recent.blob(Digest::of(b"text")).await.unwrap(), b"text");
        }
        assert_eq!(below.0.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn its_bytes_are_bounded() {
        let recent = Recent::new(Arc::new(Below::default()));
        for n in 0..2_000_u32 {
            let mut blob = vec![0; 16 * 1024];
            blob[..4].copy_from_slice(&n.to_le_bytes());
            recent.keep(vec![blob]);
        }
        assert!(recent.cache.weight() <= limits::RECENT_BYTES);
    }
}
