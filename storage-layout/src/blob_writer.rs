//! Writing a blob whose digest is known beforehand: straight to its final key, in parts, visible only if the digest is right.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio::task::JoinSet;

use crate::digest::{Digest, Digester};
use crate::error::{Error, Result};
use crate::key::Key;
use crate::objects::store_error;
use crate::store::{MIB, Store, permits};

/// The most parts that a store takes is 10,000; some room is left.
const MAX_PARTS: u64 = 9_000;
/// How many parts of one blob are under way at once, if there is memory for them.
const PARTS_IN_FLIGHT: usize = 16;

/// Stores one blob. A writer that fails, or that is aborted, leaves nothing that can be seen; one that is dropped without
/// either may leave parts that a store keeps and bills, so every way out goes through [`BlobWriter::finish`] or
/// [`BlobWriter::abort`].
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    path: Path,
    digest: Digest,
    /// The length that was promised.
    expected: Option<u64>,
    /// `None` when whoever writes has verified the bytes already.
    digester: Option<Digester>,
    length: u64,
    part_size: u64,
    /// The part that is being filled.
    pending: Vec<Bytes>,
    pending_length: u64,
    /// The memory that the part being filled takes.
    permit: Option<OwnedSemaphorePermit>,
    upload: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<object_store::Result<()>>,
    /// Set once the upload was completed or aborted.
    done: bool,
}

impl BlobWriter {
    /// Begins to write the blob `digest`, of `expected` bytes if that is known. Nothing is sent yet.
    pub fn new(store: &Store, digest: Digest, expected: Option<u64>) -> Self {
        let mut part_size = store.inner.options.part_size;
        if let Some(needed) = expected.map(|expected| expected.div_ceil(MAX_PARTS)).filter(|&needed| needed > part_size)
        {
            part_size = needed.next_multiple_of(MIB);
        }
        Self {
            store: store.clone(),
            path: Key::BlobData(digest.clone()).path(),
            digester: Some(Digester::new(digest.algorithm())),
            digest,
            expected,
            length: 0,
            part_size,
            pending: Vec::new(),
            pending_length: 0,
            permit: None,
            upload: None,
            parts: JoinSet::new(),
            done: false,
        }
    }

    /// Like [`BlobWriter::new`], for bytes that were hashed already.
    pub(crate) fn trusted(store: &Store, digest: Digest, length: u64) -> Self {
        let mut writer = Self::new(store, digest, Some(length));
        writer.digester = None;
        writer
    }

    /// Adds bytes. Waits while too much is under way.
    ///
    /// # Errors
    /// When one is returned the writer has cleaned up after itself.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match self.fill(bytes).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.clean_up().await;
                Err(error)
            }
        }
    }

    async fn fill(&mut self, mut bytes: Bytes) -> Result<()> {
        if let Some(digester) = &mut self.digester {
            digester.update(&bytes);
        }
        self.length += bytes.len() as u64;
        if let Some(expected) = self.expected.filter(|&expected| self.length > expected) {
            return Err(Error::SizeMismatch { digest: self.digest.clone(), expected, actual: self.length });
        }
        while !bytes.is_empty() {
            if self.permit.is_none() {
                let rest = self.expected.map(|expected| expected - self.length + bytes.len() as u64);
                self.permit = Some(self.reserve(rest).await.expect("the semaphore is never closed"));
            }
            let room = usize::try_from(self.part_size - self.pending_length).unwrap_or(usize::MAX);
            let piece = bytes.split_to(room.min(bytes.len()));
            self.pending_length += piece.len() as u64;
            self.pending.push(piece);
            // The last part stays pending: a blob of one part is written at once, and an exact multiple has no empty part.
            if self.pending_length == self.part_size && !(bytes.is_empty() && self.expected == Some(self.length)) {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Takes memory for one part out of the budget of the whole process. `rest` is what is still to come, in bytes.
    fn reserve(&self, rest: Option<u64>) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + use<> {
        // Parts of a blob beyond 44 GiB are larger than their share: one of them then takes the whole budget.
        let part = permits(rest.unwrap_or(u64::MAX).min(self.part_size));
        let share = part.min(self.store.inner.options.permits());
        Arc::clone(&self.store.inner.memory).acquire_many_owned(share)
    }

    async fn send_part(&mut self) -> Result<()> {
        if self.upload.is_none() {
            let upload = self.store.objects().0.put_multipart(&self.path).await;
            self.upload = Some(upload.map_err(store_error("starting an upload to", &self.path))?);
        }
        while self.parts.len() >= PARTS_IN_FLIGHT {
            self.join_part().await?;
        }
        let payload: PutPayload = std::mem::take(&mut self.pending).into_iter().collect();
        self.pending_length = 0;
        let permit = self.permit.take();
        let upload = self.upload.as_mut().expect("it was begun above");
        let sent = upload.put_part(payload);
        self.parts.spawn(async move {
            let result = sent.await;
            drop(permit);
            result
        });
        Ok(())
    }

    async fn join_part(&mut self) -> Result<()> {
        match self.parts.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(store_error("uploading to", &self.path)(error)),
            Some(Err(source)) => Err(store_error("uploading to", &self.path)(source.into())),
        }
    }

    /// Makes the blob visible if its digest and length are right, and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::SizeMismatch`], or the store's. The writer has then cleaned up after itself.
    pub async fn finish(mut self) -> Result<u64> {
        match self.publish().await {
            Ok(()) => {
                self.done = true;
                self.store.inner.sizes.learn_written(&self.digest, self.length);
                Ok(self.length)
            }
            Err(error) => {
                self.clean_up().await;
                Err(error)
            }
        }
    }

    async fn publish(&mut self) -> Result<()> {
        if let Some(expected) = self.expected.filter(|&expected| self.length != expected) {
            return Err(Error::SizeMismatch { digest: self.digest.clone(), expected, actual: self.length });
        }
        if let Some(digester) = self.digester.take() {
            let actual = digester.finish();
            if actual != self.digest {
                return Err(Error::DigestMismatch { expected: self.digest.clone(), actual });
            }
        }
        if self.upload.is_none() {
            let payload: PutPayload = std::mem::take(&mut self.pending).into_iter().collect();
            self.store.objects().0.put(&self.path, payload).await.map_err(store_error("writing", &self.path))?;
            self.permit = None;
            return Ok(());
        }
        if self.pending_length > 0 {
            self.send_part().await?;
        }
        while !self.parts.is_empty() {
            self.join_part().await?;
        }
        let upload = self.upload.as_mut().expect("it is there, as was looked at above");
        upload.complete().await.map_err(store_error("completing the upload to", &self.path))?;
        Ok(())
    }

    /// Gives up and removes what was sent.
    pub async fn abort(mut self) {
        self.clean_up().await;
    }

    async fn clean_up(&mut self) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        self.pending.clear();
        self.permit = None;
        // A part that arrives after the abort would be kept, so none may be under way.
        self.parts.shutdown().await;
        if let Some(mut upload) = self.upload.take()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(path = %self.path, %error, "an unfinished upload could not be removed from the bucket");
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // Reached when the task that writes is itself dropped, as when a client goes away.
        if self.done || self.upload.is_none() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (mut upload, mut parts) = (self.upload.take().expect("looked at above"), std::mem::take(&mut self.parts));
        self.store.inner.cleanup.spawn(async move {
            parts.shutdown().await;
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "an unfinished upload could not be removed from the bucket");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::join_all;
    use object_store::memory::InMemory;

    use super::*;
    use crate::digest::Algorithm;
    use crate::store::StoreOptions;
    use crate::test_util::{Failure, Fault, FaultyStore, Operation, Stop, noise};

    const PART: u64 = 1024;

    fn store(objects: FaultyStore, part_size: u64, memory: u64) -> (Arc<FaultyStore>, Store) {
        let objects = Arc::new(objects);
        let options = StoreOptions { part_size, memory, ..StoreOptions::default() };
        (Arc::clone(&objects), Store::new(objects, options))
    }

    fn in_memory(fault: Fault) -> FaultyStore {
        FaultyStore::new(Arc::new(InMemory::new()), fault)
    }

    async fn write(store: &Store, content: &Bytes, expected: Option<u64>, piece: usize) -> Result<u64> {
        let mut writer = BlobWriter::new(store, Algorithm::Sha256.digest(content), expected);
        for piece in content.chunks(piece) {
            writer.write(content.slice_ref(piece)).await?;
        }
        writer.finish().await
    }

    #[tokio::test]
    async fn all_parts_are_equal_but_the_last_which_is_never_empty() {
        let whole = |parts: usize| vec![PART; parts];
        for (size, with_length, without) in [
            // One put is enough.
            (0, vec![], vec![]),
            (1, vec![], vec![]),
            (PART - 1, vec![], vec![]),
            (PART, vec![], whole(1)),
            (PART + 1, vec![PART, 1], vec![PART, 1]),
            (2 * PART, whole(2), whole(2)),
            (5 * PART, whole(5), whole(5)),
            (5 * PART + 7, [whole(5), vec![7]].concat(), [whole(5), vec![7]].concat()),
        ] {
            let content = noise(size, usize::try_from(size).unwrap());
            for piece in [1, 700, 1024, 3000, 10_000] {
                for (expected, parts) in [(Some(size), &with_length), (None, &without)] {
                    let seen = Arc::new(Mutex::new(Vec::new()));
                    let observer = Arc::clone(&seen);
                    let objects = in_memory(Fault::None).observe(move |call| {
                        if call.operation == Operation::Part {
                            observer.lock().unwrap().push(call.length);
                        }
                    });
                    let (_, store) = store(objects, PART, MIB);
                    assert_eq!(write(&store, &content, expected, piece).await.unwrap(), size);
                    assert_eq!(*seen.lock().unwrap(), *parts, "{size} bytes, {piece} at once, promised {expected:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn parts_grow_when_there_would_be_too_many() {
        let (_, store) = store(in_memory(Fault::None), 8 * MIB, 64 * MIB);
        let part_size = |expected| BlobWriter::new(&store, Algorithm::Sha256.digest(b""), Some(expected)).part_size;
        for (expected, wanted) in [(0, 8), (9_000 * 8 * MIB, 8), (9_000 * 8 * MIB + 1, 9), (5 << 40, 583)] {
            assert_eq!(part_size(expected), wanted * MIB, "{expected} bytes");
            assert!(expected.div_ceil(part_size(expected)) <= 10_000);
        }
    }

    #[tokio::test]
    async fn blobs_together_keep_to_the_memory_budget() {
        // Parts that are no multiple of a MiB, blobs a little shorter than one, and a budget below one part.
        for (part_size, memory, size) in [
            (MIB, 2 * MIB, 3 * MIB + 5),
            (MIB + MIB / 2, 4 * MIB, 4 * MIB),
            (8 * MIB, 8 * MIB, 2 * MIB - 1),
            (MIB + 1, 0, 2 * MIB + 2),
        ] {
            let (objects, store) = store(in_memory(Fault::None).slowly(3), part_size, memory);
            let content = noise(1, usize::try_from(size).unwrap());
            for written in join_all((0..6).map(|_| write(&store, &content, Some(size), 300_000))).await {
                assert_eq!(written.unwrap(), size);
            }
            let (peak, limit) = (objects.peak_in_flight(), memory.max(part_size));
            assert!(peak <= limit, "{peak} bytes were under way where {limit} are allowed");
            assert!(peak * 2 > limit, "only {peak} of {limit} bytes are used");
        }
    }

    #[tokio::test]
    async fn a_dropped_writer_removes_what_it_sent() {
        let (objects, store) = store(in_memory(Fault::None).slowly(2), PART, 8 * MIB);
        for pieces in 0..8 {
            let mut writer = BlobWriter::new(&store, Algorithm::Sha256.digest(b"x"), None);
            for _ in 0..pieces {
                writer.write(noise(1, 1024)).await.unwrap();
            }
            assert_eq!(objects.unfinished_uploads(), u64::from(pieces > 0));
            drop(writer);
            store.settle().await;
            assert_eq!(objects.unfinished_uploads(), 0, "{pieces} pieces");
            assert_eq!(store.inner.memory.available_permits(), 8, "memory was not given back");
        }
    }

    #[tokio::test]
    async fn a_writer_that_fails_removes_what_it_sent_and_gives_memory_back() {
        let content = noise(1, 10 * 1024);
        // The beginning, ten parts, and the end.
        for number in 0..12 {
            let (objects, store) = store(in_memory(Fault::Error(number, Failure::Generic)).slowly(1), PART, 4 * MIB);
            let error = write(&store, &content, Some(10 * PART), 1_000).await.unwrap_err();
            assert!(matches!(error, Error::Store { .. }), "{error:?}");
            assert_eq!(objects.unfinished_uploads(), 0, "call {number}");
            assert_eq!(store.inner.memory.available_permits(), 4);
        }
        let (objects, store) = store(in_memory(Fault::None), PART, 4 * MIB);
        let mut writer = BlobWriter::new(&store, Algorithm::Sha256.digest(&content), None);
        writer.write(content).await.unwrap();
        writer.abort().await;
        assert_eq!((objects.unfinished_uploads(), store.inner.memory.available_permits()), (0, 4));
    }

    #[tokio::test]
    async fn a_lost_answer_to_the_last_call_is_a_failure() {
        let content = noise(1, 2 * 1024);
        let (_, store) = store(in_memory(Fault::Stop(3, Stop::After)), PART, MIB);
        let error = write(&store, &content, Some(2 * PART), 5_000).await.unwrap_err();
        assert!(matches!(error, Error::Store { attempted: "completing the upload to", .. }), "{error:?}");
    }
}
