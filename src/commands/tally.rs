//! Counts what travels, on its way to whoever shows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use storage_layout::Digest;

use crate::transfer::{BlobProgress, Reporter};

/// Remembers which blobs travelled.
#[derive(Debug)]
pub(super) struct Tally {
    shown: Arc<dyn Reporter>,
    sent: Arc<Mutex<HashMap<Digest, u64>>>,
}

impl Tally {
    pub(super) fn new(shown: Arc<dyn Reporter>) -> Arc<Self> {
        Arc::new(Self { shown, sent: Arc::default() })
    }

    /// Tells whether a blob travelled.
    pub(super) fn was_sent(&self, digest: &Digest) -> bool {
        self.sent.lock().expect("nothing panics while holding it").contains_key(digest)
    }
}

impl Reporter for Tally {
    fn blob_started(&self, label: &str, size: Option<u64>) -> Box<dyn BlobProgress> {
        let shown = self.shown.blob_started(label, size);
        Box::new(Counted { shown, sent: Arc::clone(&self.sent), length: std::sync::atomic::AtomicU64::new(0) })
    }

    fn blob_exists(&self, digest: &Digest, size: u64) {
        self.shown.blob_exists(digest, size);
    }
}

#[derive(Debug)]
struct Counted {
    shown: Box<dyn BlobProgress>,
    sent: Arc<Mutex<HashMap<Digest, u64>>>,
    length: std::sync::atomic::AtomicU64,
}

impl BlobProgress for Counted {
    fn advanced(&self, bytes: u64) {
        self.length.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        self.shown.advanced(bytes);
    }

    fn finished(&self, digest: &Digest) {
        let length = self.length.load(std::sync::atomic::Ordering::Relaxed);
        *self.sent.lock().expect("nothing panics while holding it").entry(digest.clone()).or_default() += length;
        self.shown.finished(digest);
    }
}
