//! The blobs read lately, in memory: a conversation is read again for every message of its model.
//!
//! Knows no session and never answers with anything but the addressed bytes. Start at [`Recent`].

use contract::port::Blobs;
use contract::{BoxFuture, Digest, Fault, limits};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bounded cache before a store. What is least recently used goes first; large blobs are never kept.
pub struct Recent {
    store: Arc<dyn Blobs>,
    kept: Mutex<Kept>,
    /// Most bytes kept.
    bound: usize,
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recent").field("bytes", &self.lock().bytes).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Kept {
    blobs: HashMap<Digest, (u64, Vec<u8>)>,
    /// By last use, the oldest first.
    used: BTreeMap<u64, Digest>,
    uses: u64,
    bytes: usize,
}

impl Recent {
    /// A cache of at most `limits::BLOBS_RECENT_BYTES` before this store.
    pub fn new(store: Arc<dyn Blobs>) -> Self {
        Self { store, kept: Mutex::default(), bound: limits::BLOBS_RECENT_BYTES }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it is held; and a cache that is behind is still right.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn get(&mut self, digest: Digest) -> Option<Vec<u8>> {
        let (last, bytes) = self.blobs.get_mut(&digest)?;
        self.uses += 1;
        self.used.remove(last);
        self.used.insert(self.uses, digest);
        *last = self.uses;
        Some(bytes.clone())
    }

    fn put(&mut self, digest: Digest, bytes: &[u8], bound: usize) {
        if bytes.len() > limits::BLOB_ROW_BYTES || self.blobs.contains_key(&digest) {
            return;
        }
        self.uses += 1;
        self.bytes += bytes.len();
        self.used.insert(self.uses, digest);
        self.blobs.insert(digest, (self.uses, bytes.to_vec()));
        while self.bytes > bound
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.bytes -= self.blobs.remove(&oldest).map_or(0, |(_, bytes)| bytes.len());
        }
    }
}

impl Blobs for Recent {
    fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(async move {
            let kept = self.lock().get(digest);
            if let Some(bytes) = kept {
                return Ok(bytes);
            }
            let bytes = self.store.blob(digest).await?;
            self.lock().put(digest, &bytes, self.bound);
            Ok(bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Blobs are the bytes they were made of; counts the reads.
    #[derive(Default)]
    struct Store {
        blobs: HashMap<Digest, Vec<u8>>,
        reads: AtomicUsize,
    }

    impl Blobs for Store {
        fn blob(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let found = self.blobs.get(&digest).cloned();
            let missing = || Fault::new(contract::Kind::Permanent, "blob-missing", "no such blob");
            Box::pin(async move { found.ok_or_else(missing) })
        }
    }

    #[tokio::test]
    async fn reads_once_what_is_used_and_forgets_what_is_not() {
        let texts = [vec![b'a'; 40], vec![b'b'; 40], vec![b'c'; 40], vec![b'd'; limits::BLOB_ROW_BYTES + 1]];
        let [a, b, c, large] = texts.clone().map(|text| Digest::of(&text));
        let blobs = texts.into_iter().map(|text| (Digest::of(&text), text)).collect();
        let store = Arc::new(Store { blobs, ..Store::default() });
        let recent = Recent { bound: 100, ..Recent::new(store.clone()) };
        let read = async |digest| {
            assert_eq!(Digest::of(&recent.blob(digest).await.unwrap()), digest);
            store.reads.load(Ordering::Relaxed)
        };

        assert_eq!((read(a).await, read(b).await, read(a).await), (1, 2, 2));
        assert_eq!((read(c).await, read(a).await), (3, 3), "b was the least recently used");
        assert_eq!(read(b).await, 4);
        assert_eq!((read(large).await, read(large).await), (5, 6));
        {
            let kept = recent.lock();
            assert!(kept.bytes <= 100 && kept.used.len() == kept.blobs.len(), "{} bytes", kept.bytes);
        }
        assert!(recent.blob(Digest::of(b"never stored")).await.is_err());
    }
}
