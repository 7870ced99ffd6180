//! What a registry received and what failed in it, for the command that started it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use storage_layout::{Descriptor, Digest, Error, Tag};
use tokio::sync::Notify;

/// How many blobs and tags are remembered of a registry that runs for long. No push has as many.
const REMEMBERED: usize = 100_000;

/// What one run of a registry received. The daemon that pushes hears of errors as a line of text at best, and tries again for
/// a minute first; the true error is here at once.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Mutex<Entries>,
    requests: AtomicU64,
    failed: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    sent: HashSet<Digest>,
    bytes_sent: u64,
    /// Blobs that were answered for, so that each is reported once.
    existing: HashSet<Digest>,
    tagged: HashMap<Tag, Descriptor>,
    failure: Option<Arc<Error>>,
}

impl Journal {
    /// Returns the blobs that were uploaded.
    pub fn sent(&self) -> HashSet<Digest> {
        self.entries().sent.clone()
    }

    /// Returns the size of all blobs that were uploaded, in bytes.
    pub fn bytes_sent(&self) -> u64 {
        self.entries().bytes_sent
    }

    /// Returns the manifest that was last pushed under a tag.
    pub fn tagged(&self, tag: &Tag) -> Option<Descriptor> {
        self.entries().tagged.get(tag).cloned()
    }

    /// Returns the first failure of the bucket or of this machine: what a client was told of with a 5xx status, or a damaged
    /// blob in the middle of a download.
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.entries().failure.clone()
    }

    /// Waits until there is a [`Journal::failure`].
    pub async fn failed(&self) {
        loop {
            // Made before looking, so that a failure between the two is not missed.
            let notified = self.failed.notified();
            if self.failure().is_some() {
                return;
            }
            notified.await;
        }
    }

    /// Returns how many requests came, whatever was answered.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_sent(&self, digest: &Digest, size: u64) {
        let mut entries = self.entries();
        if entries.sent.len() >= REMEMBERED {
            entries.sent.clear();
        }
        if entries.sent.insert(digest.clone()) {
            entries.bytes_sent += size;
        }
    }

    /// Notes that a blob was answered for. Returns whether that is news: it was neither uploaded nor answered for before.
    pub(super) fn add_existing(&self, digest: &Digest) -> bool {
        let mut entries = self.entries();
        if entries.existing.len() >= REMEMBERED {
            entries.existing.clear();
        }
        !entries.sent.contains(digest) && entries.existing.insert(digest.clone())
    }

    pub(super) fn add_tagged(&self, tag: &Tag, descriptor: Descriptor) {
        let mut entries = self.entries();
        if entries.tagged.len() >= REMEMBERED {
            entries.tagged.clear();
        }
        entries.tagged.insert(tag.clone(), descriptor);
    }

    pub(super) fn add_failure(&self, error: Arc<Error>) {
        self.entries().failure.get_or_insert(error);
        self.failed.notify_waiters();
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().expect("nothing panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use storage_layout::Algorithm;

    use super::*;

    #[tokio::test]
    async fn the_first_failure_is_kept_and_wakes_whoever_waits() {
        let journal = Arc::new(Journal::default());
        let waiting = tokio::spawn({
            let journal = Arc::clone(&journal);
            async move { journal.failed().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        for found in ["is first", "is second"] {
            journal.add_failure(Arc::new(Error::Corrupt { key: "a".to_owned(), found: found.to_owned() }));
        }
        waiting.await.unwrap();
        journal.failed().await;
        assert!(journal.failure().unwrap().to_string().ends_with("is first"));
    }

    #[test]
    fn a_blob_is_news_once() {
        let journal = Journal::default();
        let (one, two) = (Algorithm::Sha256.digest(b"one"), Algorithm::Sha256.digest(b"two"));
        journal.add_sent(&one, 3);
        journal.add_sent(&one, 3);
        assert_eq!(journal.bytes_sent(), 3);
        assert_eq!(journal.sent(), HashSet::from([one.clone()]));
        assert!(!journal.add_existing(&one));
        assert!(journal.add_existing(&two));
        assert!(!journal.add_existing(&two));
    }
}
