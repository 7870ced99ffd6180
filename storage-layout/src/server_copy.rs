//! Blobs of another bucket, copied by the service that both buckets are of.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{ObjectMeta, Result as StoreResult};
use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::error::Result;
use crate::key::Key;
use crate::objects::store_error;
use crate::store::Repository;

/// Copies objects of one bucket to another of the same service: no byte of them comes through this process.
#[async_trait]
pub trait ServerCopy: fmt::Debug + Send + Sync {
    /// Copies `from`, as the one bucket tells of it, to `to` in the other. `false` means that it was not copied and that its bytes
    /// have to be sent: the service does not do it, or the object is not there any more as `from` describes it.
    ///
    /// When `stop` is cancelled, whatever was begun is taken back.
    async fn copy(&self, from: &ObjectMeta, to: &Path, stop: &CancellationToken) -> StoreResult<bool>;
}

/// Where a repository may have blobs copied from.
#[derive(Clone, Debug)]
pub(crate) struct Near {
    source: Repository,
    by: Arc<dyn ServerCopy>,
}

impl Repository {
    /// Has blobs of `source`, a repository of another bucket, copied by the service itself.
    #[must_use]
    pub fn copying_from(self, source: &Self, by: Arc<dyn ServerCopy>) -> Self {
        let near = Near { source: source.clone(), by };
        Self { near: Some(Arc::new(near)), ..self }
    }

    /// Tells whether there is another bucket that [`Repository::copy_blob`] can copy from.
    pub fn copies_blobs(&self) -> bool {
        self.near.is_some()
    }

    /// Has the service copy a blob of `size` bytes from the bucket that [`Repository::copying_from`] named, and links it.
    ///
    /// The bytes are not hashed. As when a blob of this bucket is adopted, it is its size that is confirmed, before and after: the
    /// one that the caller knows from a manifest. `false` means that the blob has to be sent, whatever the reason: then it is the
    /// source that says what is wrong with it.
    ///
    /// # Errors
    /// The store's. Nothing refers to the blob then.
    pub async fn copy_blob(&self, digest: &Digest, size: u64) -> Result<bool> {
        let Some(near) = &self.near else { return Ok(false) };
        let Some(from) = near.source.blob_object(digest).await?.filter(|from| from.size == size) else {
            return Ok(false);
        };
        if !self.copy_object(near, from, digest).await? {
            return Ok(false);
        }
        let copied = self.store.data_size(digest).await?;
        if copied != Some(size) {
            tracing::warn!(%digest, size, ?copied, "the store did not copy a blob as a whole; it is sent");
            return Ok(false);
        }
        self.link_blob(digest).await?;
        Ok(true)
    }

    /// Returns the object that holds a blob's data, whether or not this repository has a link to it.
    async fn blob_object(&self, digest: &Digest) -> Result<Option<ObjectMeta>> {
        let data = |digest: &Digest| Key::BlobData(digest.clone()).path();
        let own = data(digest);
        let (linked, found) = tokio::try_join!(self.whole_link(digest), self.objects().stat(&own))?;
        match linked {
            Some(stored) if stored != *digest => self.objects().stat(&data(&stored)).await,
            _ => Ok(found),
        }
    }

    /// Runs the copy as a task of the store's, so that a caller who goes away leaves nothing behind: [`crate::Store::settle`] waits
    /// until what was begun is taken back.
    async fn copy_object(&self, near: &Arc<Near>, from: ObjectMeta, digest: &Digest) -> Result<bool> {
        let to = Key::BlobData(digest.clone()).path();
        let stop = CancellationToken::new();
        let _stopped_when_dropped = stop.clone().drop_guard();
        let (near, path) = (Arc::clone(near), to.clone());
        let copying = self.store.inner.cleanup.spawn(async move { near.by.copy(&from, &path, &stop).await });
        match copying.await {
            Ok(copied) => copied.map_err(store_error("copying to", &to)),
            Err(source) => Err(store_error("copying to", &to)(source.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};
    use tokio::sync::Notify;

    use super::*;
    use crate::digest::Algorithm;
    use crate::error::Error;
    use crate::store::{Store, StoreOptions};

    /// What a service does when it is asked to copy.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Does {
        Copy,
        CutShort,
        Refuse,
        Fail,
        Hang,
    }

    #[derive(Debug)]
    struct Service {
        does: Does,
        source: Arc<dyn ObjectStore>,
        target: Arc<dyn ObjectStore>,
        asked: Mutex<Vec<String>>,
        begun: Notify,
        taken_back: AtomicBool,
    }

    #[async_trait]
    impl ServerCopy for Service {
        async fn copy(&self, from: &ObjectMeta, to: &Path, stop: &CancellationToken) -> StoreResult<bool> {
            self.asked.lock().unwrap().push(from.location.to_string());
            let bytes = self.source.get(&from.location).await?.bytes().await?;
            match self.does {
                Does::Copy => self.target.put(to, bytes.into()).await?,
                Does::CutShort => self.target.put(to, bytes.slice(1..).into()).await?,
                Does::Refuse => return Ok(false),
                Does::Fail => {
                    return Err(object_store::Error::NotImplemented {
                        operation: String::new(),
                        implementer: String::new(),
                    });
                }
                Does::Hang => {
                    self.begun.notify_one();
                    stop.cancelled().await;
                    tokio::task::yield_now().await;
                    self.taken_back.store(true, Ordering::SeqCst);
                    return Ok(false);
                }
            };
            Ok(true)
        }
    }

    /// A source that has `content`, a target, and what copies between them.
    async fn buckets(does: Does, content: &str) -> (Repository, Repository, Arc<Service>, Digest) {
        let [source, target]: [Arc<dyn ObjectStore>; 2] = std::array::from_fn(|_| Arc::new(InMemory::new()) as _);
        let service = Arc::new(Service {
            does,
            source: Arc::clone(&source),
            target: Arc::clone(&target),
            asked: Mutex::default(),
            begun: Notify::new(),
            taken_back: AtomicBool::new(false),
        });
        let name = "app".parse().unwrap();
        let [from, to] = [source, target].map(|objects| Store::new(objects, StoreOptions::default()).repository(&name));
        let digest = Algorithm::Sha256.digest(content.as_bytes());
        let bytes = content.to_owned().into();
        from.put_blob(&digest, None, futures::stream::iter([Ok(bytes)])).await.unwrap();
        let to = to.copying_from(&from, Arc::clone(&service) as _);
        (from, to, service, digest)
    }

    #[tokio::test]
    async fn a_copied_blob_is_linked_and_whole() {
        let (_, to, service, digest) = buckets(Does::Copy, "layer").await;
        assert!(to.copy_blob(&digest, 5).await.unwrap());
        assert_eq!(to.stat_blob(&digest).await.unwrap().size, 5);
        assert_eq!(*service.asked.lock().unwrap(), [Key::BlobData(digest).path().to_string()]);
    }

    #[tokio::test]
    async fn a_blob_that_is_not_what_the_manifest_says_is_not_even_asked_for() {
        let (from, to, service, digest) = buckets(Does::Copy, "layer").await;
        assert!(!to.copy_blob(&digest, 6).await.unwrap());
        assert!(!to.copy_blob(&Algorithm::Sha256.digest(b"other"), 5).await.unwrap());
        assert!(!from.copies_blobs() && !from.copy_blob(&digest, 5).await.unwrap());
        assert!(service.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn nothing_is_linked_that_was_not_copied_whole() {
        for does in [Does::CutShort, Does::Refuse, Does::Fail] {
            let (_, to, service, digest) = buckets(does, "layer").await;
            let copied = to.copy_blob(&digest, 5).await;
            match does {
                Does::Fail => {
                    assert!(matches!(copied, Err(Error::Store { attempted: "copying to", .. })), "{copied:?}");
                }
                _ => assert!(!copied.unwrap(), "{does:?}"),
            }
            assert_eq!(service.asked.lock().unwrap().len(), 1);
            assert!(matches!(to.stat_blob(&digest).await, Err(Error::BlobUnknown(_))), "{does:?}");
        }
    }

    #[tokio::test]
    async fn a_blob_that_is_kept_under_another_digest_is_found() {
        let (from, to, service, digest) = buckets(Does::Copy, "layer").await;
        let asked = Algorithm::Sha512.digest(b"layer");
        let link = Key::LayerLink(from.name().clone(), asked.clone()).path();
        from.objects().write(&link, digest.to_string().into()).await.unwrap();
        assert!(to.copy_blob(&asked, 5).await.unwrap());
        assert_eq!(*service.asked.lock().unwrap(), [Key::BlobData(digest).path().to_string()]);
        assert_eq!(to.stat_blob(&asked).await.unwrap().size, 5);
    }

    #[tokio::test]
    async fn what_was_begun_is_taken_back_when_nobody_waits_for_it_any_more() {
        let (_, to, service, digest) = buckets(Does::Hang, "layer").await;
        tokio::select! {
            copied = to.copy_blob(&digest, 5) => panic!("it ended: {copied:?}"),
            () = service.begun.notified() => {}
        }
        to.store().settle().await;
        assert!(service.taken_back.load(Ordering::SeqCst));
    }
}
