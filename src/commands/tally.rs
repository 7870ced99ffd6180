//! Counts what travels, on its way to whoever shows it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use storage_layout::Digest;
use tokio::sync::Notify;

use super::push::Allowance;
use crate::transfer::{BlobProgress, Label, Reporter};

/// Remembers which blobs travelled.
#[derive(Debug)]
pub(super) struct Tally {
    shown: Arc<dyn Reporter>,
    sent: Arc<Mutex<HashMap<Digest, u64>>>,
    begun: Arc<Begun>,
}

/// How much has begun to travel, whatever became of it.
#[derive(Debug, Default)]
struct Begun {
    blobs: AtomicUsize,
    bytes: AtomicU64,
    changed: Notify,
}

impl Begun {
    fn exceeds(&self, allowance: Allowance) -> bool {
        self.blobs.load(Ordering::Relaxed) > allowance.blobs || self.bytes.load(Ordering::Relaxed) > allowance.bytes
    }
}

impl Tally {
    pub(super) fn new(shown: Arc<dyn Reporter>) -> Arc<Self> {
        Arc::new(Self { shown, sent: Arc::default(), begun: Arc::default() })
    }

    /// Waits until more travels than is allowed; without an allowance for ever.
    pub(super) async fn exceeds(&self, allowance: Option<Allowance>) {
        let Some(allowance) = allowance else { return std::future::pending().await };
        loop {
            // Made before looking, so that what comes between the two is not missed.
            let changed = self.begun.changed.notified();
            if self.begun.exceeds(allowance) {
                return;
            }
            changed.await;
        }
    }

    /// Tells whether a blob travelled.
    pub(super) fn was_sent(&self, digest: &Digest) -> bool {
        self.sent.lock().expect("nothing panics while holding it").contains_key(digest)
    }
}

impl Reporter for Tally {
    fn blob_started(&self, label: Label<'_>, size: Option<u64>) -> Box<dyn BlobProgress> {
        let shown = self.shown.blob_started(label, size);
        self.begun.blobs.fetch_add(1, Ordering::Relaxed);
        self.begun.changed.notify_waiters();
        Box::new(Counted {
            shown,
            sent: Arc::clone(&self.sent),
            begun: Arc::clone(&self.begun),
            length: AtomicU64::new(0),
        })
    }

    fn blob_exists(&self, label: Label<'_>, size: u64) {
        self.shown.blob_exists(label, size);
    }
}

#[derive(Debug)]
struct Counted {
    shown: Box<dyn BlobProgress>,
    sent: Arc<Mutex<HashMap<Digest, u64>>>,
    begun: Arc<Begun>,
    length: AtomicU64,
}

impl BlobProgress for Counted {
    fn advanced(&self, bytes: u64) {
        self.length.fetch_add(bytes, Ordering::Relaxed);
        self.begun.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.begun.changed.notify_waiters();
        self.shown.advanced(bytes);
    }

    fn finished(&self, digest: &Digest) {
        let length = self.length.load(Ordering::Relaxed);
        *self.sent.lock().expect("nothing panics while holding it").entry(digest.clone()).or_default() += length;
        self.shown.finished(digest);
    }
}
