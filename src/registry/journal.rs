//! What a registry received and what failed in it, for the command that started it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use storage_layout::{Descriptor, Digest, Error, Reference, Tag};
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
    /// The tag that only one client knows of, to learn whether that client reaches this registry.
    probe: Option<Tag>,
    probed: AtomicBool,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    sent: HashSet<Digest>,
    bytes_sent: u64,
    /// Blobs that were answered for, so that each is reported once.
    existing: HashSet<Digest>,
    tagged: HashMap<Tag, Descriptor>,
    answered: HashMap<Tag, Descriptor>,
    failure: Option<Arc<Error>>,
}

impl Journal {
    /// Makes a journal that waits for a client to look for the tag `probe`, which is in no repository.
    pub fn with_probe(probe: Tag) -> Self {
        Self { probe: Some(probe), ..Self::default() }
    }

    /// Waits until a client that may ask has looked for the probe.
    pub async fn probe_seen(&self) {
        loop {
            let notified = self.arrived.notified();
            if self.probed.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }

    /// Tells whether `reference` is the probe, and notes that it was looked for.
    pub(super) fn is_probe(&self, reference: &Reference) -> bool {
        let is_probe = matches!((reference, &self.probe), (Reference::Tag(tag), Some(probe)) if tag == probe);
        if is_probe {
            self.probed.store(true, Ordering::Release);
            self.arrived.notify_waiters();
        }
        is_probe
    }

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

    /// Returns the manifest that a client was last told a tag stands for. One that finds what it wants to push does not push it.
    pub fn answered(&self, tag: &Tag) -> Option<Descriptor> {
        self.entries().answered.get(tag).cloned()
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

    pub(super) fn add_answered(&self, tag: &Tag, descriptor: Descriptor) {
        let mut entries = self.entries();
        if entries.answered.len() >= REMEMBERED {
            entries.answered.clear();
        }
        entries.answered.insert(tag.clone(), descriptor);
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

    #[tokio::test]
    async fn the_probe_alone_is_the_probe() {
        let probe: Tag = "probe-1".parse().unwrap();
        let journal = Arc::new(Journal::with_probe(probe.clone()));
        let waiting = tokio::spawn({
            let journal = Arc::clone(&journal);
            async move { journal.probe_seen().await }
        });
        assert!(!journal.is_probe(&Reference::Tag("latest".parse().unwrap())));
        assert!(!Journal::default().is_probe(&Reference::Tag(probe.clone())));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(journal.is_probe(&Reference::Tag(probe)));
        waiting.await.unwrap();
        journal.probe_seen().await;
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
