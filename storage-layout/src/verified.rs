//! Reading blobs: what nobody has verified yet is hashed, and the last piece is held back until the digest is known to be right.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Mutex;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::blob::ByteStream;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::objects::store_error;
use crate::read_ahead::{self, Found};
use crate::shared_digest::{SharedDigest, UnderWay};
use crate::sizes::REMEMBERED;
use crate::store::Store;

/// The blobs that this process has read to the end and found right.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    right: Mutex<HashMap<Digest, Known>>,
    under_way: UnderWay,
}

/// What was read and found right.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// In bytes.
    size: u64,
    /// The store's name for these very bytes, where it has one.
    version: Option<String>,
}

impl Verified {
    fn get(&self, digest: &Digest) -> Option<Known> {
        self.right.lock().expect("nothing panics while holding it").get(digest).cloned()
    }

    fn insert(&self, digest: Digest, known: Known) {
        let mut verified = self.right.lock().expect("nothing panics while holding it");
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(digest, known);
    }

    fn forget(&self, digest: &Digest) {
        self.right.lock().expect("nothing panics while holding it").remove(digest);
    }
}

/// Opens the blob kept under `stored`, of `size` bytes, to be hashed against `digest`.
///
/// What this process has read to its end and found right is not hashed again as long as the store has the same version of it.
pub(crate) async fn open(
    store: &Store,
    stored: &Digest,
    digest: &Digest,
    size: u64,
    range: Option<Range<u64>>,
) -> Result<ByteStream> {
    let window = range.unwrap_or(0..size);
    if window.is_empty() {
        // Stores answer 416 to any range of nothing, and nothing is what is handed out.
        return Ok(futures::stream::empty().boxed());
    }
    // A part of a blob proves nothing. The first time one is asked for, the blob is read from its start to its end; once it
    // was found right, a part is read alone.
    let whole = 0..size;
    let known = store.inner.verified.get(digest).filter(|known| known.size == size);
    let mut found = open_range(store, stored, if known.is_some() { &window } else { &whole }, size).await?;
    if let Some(known) = known {
        let is_same = found.version == known.version;
        // Without a version, hashing is all that tells whether a blob is what it was, where it can.
        if is_same && (window != whole || known.version.is_some()) {
            return Ok(found.stream);
        }
        if window != whole {
            found = open_range(store, stored, &whole, size).await?;
        }
    }
    let hashing = store.inner.verified.under_way.join(digest, found.version.as_deref());
    let state = Reading {
        store: store.clone(),
        body: found.stream,
        hashing: Some(hashing),
        position: 0,
        digest: digest.clone(),
        stored: stored.clone(),
        known: Known { size, version: found.version },
        window,
        held: None,
    };
    Ok(futures::stream::try_unfold(state, Reading::next).boxed())
}

async fn open_range(store: &Store, stored: &Digest, range: &Range<u64>, size: u64) -> Result<Found> {
    let path = Key::BlobData(stored.clone()).path();
    match read_ahead::open(store, path.clone(), range.clone()).await {
        Ok(found) if found.size == size => Ok(found),
        Ok(found) => {
            let found = format!("has {} bytes where there were {size} a moment ago", found.size);
            Err(Error::Corrupt { key: path.to_string(), found })
        }
        Err(object_store::Error::NotFound { .. }) => Err(Error::BlobUnknown(stored.clone())),
        Err(error) => Err(store_error("reading", &path)(error)),
    }
}

struct Reading {
    store: Store,
    body: ByteStream,
    /// Gone when the end was reached.
    hashing: Option<SharedDigest>,
    /// How many bytes came.
    position: u64,
    digest: Digest,
    /// What the blob is kept under.
    stored: Digest,
    /// What will be known when the digest is right.
    known: Known,
    /// The part of the blob that was asked for.
    window: Range<u64>,
    /// The last piece read, which nobody has seen yet.
    held: Option<Bytes>,
}

impl Reading {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let Some(hashing) = self.hashing.take() else {
            return Ok(None);
        };
        while let Some(mut bytes) = self.body.try_next().await? {
            let start = self.position;
            let end = start + bytes.len() as u64;
            self.position = end;
            if end > self.known.size {
                break;
            }
            hashing.advance(start, &bytes);
            let (from, to) = (self.window.start.clamp(start, end) - start, self.window.end.clamp(start, end) - start);
            let in_piece = |offset: u64| usize::try_from(offset).expect("an offset into a piece is below its length");
            bytes = bytes.slice(in_piece(from)..in_piece(to));
            if bytes.is_empty() {
                continue;
            }
            if let Some(ready) = self.held.replace(bytes) {
                self.hashing = Some(hashing);
                return Ok(Some((ready, self)));
            }
        }
        let found = if self.position == self.known.size {
            let actual = hashing.finish();
            if actual == self.digest {
                self.store.inner.verified.insert(self.digest.clone(), self.known.clone());
                return Ok(self.held.take().map(|last| (last, self)));
            }
            format!("holds {} bytes with digest {actual}, not {}", self.position, self.digest)
        } else {
            format!("holds {} bytes, and not the {} of {}", self.position, self.known.size, self.digest)
        };
        self.store.inner.verified.forget(&self.digest);
        let key = Key::BlobData(self.stored).path().to_string();
        Err(io::Error::new(io::ErrorKind::InvalidData, Error::Corrupt { key, found }))
    }
}
