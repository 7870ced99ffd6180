//! What is told of a transfer while it runs.

use std::fmt;

use storage_layout::{Descriptor, Digest};

/// The annotation with the path of the file that a layer is.
pub(crate) const TITLE: &str = "org.opencontainers.image.title";

/// Hears of a transfer. The library never draws: a terminal implements this, and `()` is deaf.
pub trait Reporter: Send + Sync + fmt::Debug {
    /// A blob begins to travel. `size` is its length in bytes where that is known.
    fn blob_started(&self, label: Label<'_>, size: Option<u64>) -> Box<dyn BlobProgress>;

    /// A blob need not travel: where it goes it is already.
    fn blob_exists(&self, label: Label<'_>, size: u64);
}

/// What people know a blob by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// Its title, such as a file's name.
    Title(&'a str),
    /// Its digest.
    Digest(&'a Digest),
    /// Words that stand for it as long as its digest is not known.
    Unknown(&'a str),
}

impl<'a> Label<'a> {
    /// Returns a blob's title if it has one that can be shown, else its digest.
    pub fn of(descriptor: &'a Descriptor) -> Self {
        let title = descriptor.annotations.get(TITLE);
        match title.filter(|title| !title.is_empty() && !title.contains(char::is_control)) {
            Some(title) => Self::Title(title),
            None => Self::Digest(&descriptor.digest),
        }
    }
}

/// A digest is cut to what tells it from others.
impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => f.pad(digest.short()),
            Self::Title(text) | Self::Unknown(text) => f.pad(text),
        }
    }
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
    /// It was copied where it is kept, and did not come through here.
    Copied,
    /// It was there already.
    Exists,
}

impl Reporter for () {
    fn blob_started(&self, _: Label<'_>, _: Option<u64>) -> Box<dyn BlobProgress> {
        Box::new(())
    }

    fn blob_exists(&self, _: Label<'_>, _: u64) {}
}

impl BlobProgress for () {
    fn advanced(&self, _: u64) {}

    fn finished(&self, _: &Digest) {}
}

#[cfg(test)]
mod tests {
    use storage_layout::Algorithm;

    use super::*;

    #[test]
    fn a_blob_is_known_by_its_title_or_the_beginning_of_its_digest() {
        let mut descriptor = Descriptor::new("text/plain", Algorithm::Sha256.digest(b""), 0);
        assert_eq!(Label::of(&descriptor).to_string(), "e3b0c44298fc");
        for (title, shown) in [("build/foo.txt", "build/foo.txt"), ("", "e3b0c44298fc"), ("\x1b[2Jx", "e3b0c44298fc")] {
            descriptor.annotations.insert(TITLE.to_owned(), title.to_owned());
            assert_eq!(Label::of(&descriptor).to_string(), shown);
        }
        assert_eq!(format!("{:8}|", Label::Unknown("layer 1")), "layer 1 |");
    }
}
