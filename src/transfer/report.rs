//! What is told of a transfer while it runs.

use std::fmt;

use storage_layout::Digest;

/// Hears of a transfer. The library never draws: a terminal implements this, and `()` is deaf.
pub trait Reporter: Send + Sync + fmt::Debug {
    /// A blob begins to travel. `label` names it for people, `size` is its length in bytes where that is known.
    fn blob_started(&self, label: &str, size: Option<u64>) -> Box<dyn BlobProgress>;

    /// A blob need not travel: where it goes it is already.
    fn blob_exists(&self, digest: &Digest, size: u64);
}

/// Hears of one blob. Dropped before [`BlobProgress::finished`], it has failed.
pub trait BlobProgress: Send + Sync + fmt::Debug {
    /// Some more bytes went through.
    fn advanced(&self, bytes: u64);

    /// All bytes went through and were verified.
    fn finished(&self, digest: &Digest);
}

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobStatus {
    /// It travelled.
    Sent,
    /// It was there already.
    Exists,
}

impl Reporter for () {
    fn blob_started(&self, _: &str, _: Option<u64>) -> Box<dyn BlobProgress> {
        Box::new(())
    }

    fn blob_exists(&self, _: &Digest, _: u64) {}
}

impl BlobProgress for () {
    fn advanced(&self, _: u64) {}

    fn finished(&self, _: &Digest) {}
}
