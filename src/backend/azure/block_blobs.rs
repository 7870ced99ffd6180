//! Writing blobs where others have written, or are writing.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::azure::MicrosoftAzure;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Extensions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::backend::failure::Failure;

/// A container whose blobs may be of another type than ours, or be written by others at the same time.
///
/// Docker's registry, before 3.1.2, wrote append blobs, links as well as layers. Azure never turns one type into another:
/// writing over such a blob, whole or in blocks, is refused, so it is deleted first. For that moment the object is absent.
///
/// The blocks of an unfinished upload belong to the blob, not to the upload: of two uploads of one blob the first that
/// completes takes the other's blocks away. As a blob's name is its digest, the second has got what it wanted.
#[derive(Debug)]
pub(super) struct BlockBlobs<S> {
    inner: Arc<S>,
    /// The client that sends blocks.
    blocks: Arc<MicrosoftAzure>,
}

impl<S> BlockBlobs<S> {
    pub(super) fn new(inner: S, blocks: Arc<MicrosoftAzure>) -> Self {
        Self { inner: Arc::new(inner), blocks }
    }
}

/// Removes a blob of another type, so that one of ours can take its place.
async fn make_way(store: &impl ObjectStore, location: &Path) -> Result<()> {
    tracing::debug!(%location, "an append blob is replaced");
    match store.delete(location).await {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        result => result,
    }
}

/// Tells whether Azure refused a request with this code.
fn is_refused(error: &object_store::Error, code: &str) -> bool {
    matches!(Failure::of(error), Failure::Answered(answer) if answer.code.as_deref() == Some(code))
}

impl<S: fmt::Display> fmt::Display for BlockBlobs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore> ObjectStore for BlockBlobs<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if !matches!(options.mode, PutMode::Overwrite) {
            return self.inner.put_opts(location, payload, options).await;
        }
        match self.inner.put_opts(location, payload.clone(), options.clone()).await {
            Err(error) if is_refused(&error, "InvalidBlobType") => {
                make_way(&self.inner, location).await?;
                self.inner.put_opts(location, payload, options).await
            }
            result => result,
        }
    }

    /// The options are left aside: nobody here sets any.
    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload {
            store: Arc::clone(&self.inner),
            blocks: Arc::clone(&self.blocks),
            location: location.clone(),
            size: 0,
            parts: Arc::default(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// An upload that is done when somebody else has done it. Azure has no identity for uploads: blocks belong to the blob.
#[derive(Debug)]
struct Upload<S> {
    store: Arc<S>,
    blocks: Arc<MicrosoftAzure>,
    location: Path,
    /// How many bytes were given.
    size: u64,
    /// The blocks in their order; those that are under way are absent.
    parts: Arc<Mutex<Vec<Option<PartId>>>>,
}

/// What stands for the identity of an upload.
const NONE: MultipartId = MultipartId::new();

impl<S: ObjectStore> Upload<S> {
    async fn commit(&self) -> Result<PutResult> {
        let parts: Option<Vec<_>> =
            self.parts.lock().expect("nothing panics while holding it").iter().cloned().collect();
        let parts = parts.ok_or_else(|| object_store::Error::Generic {
            store: "MicrosoftAzure",
            source: "an upload is to be completed before all of its blocks are sent".into(),
        })?;
        match self.blocks.complete_multipart(&self.location, &NONE, parts.clone()).await {
            Err(error) if is_refused(&error, "InvalidBlobType") => {
                make_way(&self.store, &self.location).await?;
                self.blocks.complete_multipart(&self.location, &NONE, parts).await
            }
            result => result,
        }
    }
}

#[async_trait]
impl<S: ObjectStore> MultipartUpload for Upload<S> {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.size += data.content_length() as u64;
        let index = {
            let mut parts = self.parts.lock().expect("nothing panics while holding it");
            parts.push(None);
            parts.len() - 1
        };
        let (store, blocks, parts) = (Arc::clone(&self.store), Arc::clone(&self.blocks), Arc::clone(&self.parts));
        let location = self.location.clone();
        Box::pin(async move {
            let part = match blocks.put_part(&location, &NONE, index, data.clone()).await {
                Err(error) if is_refused(&error, "InvalidBlobType") => {
                    make_way(&store, &location).await?;
                    blocks.put_part(&location, &NONE, index, data).await?
                }
                result => result?,
            };
            parts.lock().expect("nothing panics while holding it")[index] = Some(part);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let error = match self.commit().await {
            Err(error) if is_refused(&error, "InvalidBlockList") => error,
            result => return result,
        };
        match self.store.head(&self.location).await {
            Ok(meta) if meta.size == self.size => {
                tracing::debug!(location = %self.location, "somebody else has written the blob");
                Ok(PutResult { e_tag: meta.e_tag, version: meta.version, extensions: Extensions::default() })
            }
            _ => Err(error),
        }
    }

    /// Azure forgets blocks that were never committed, after a week.
    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}
