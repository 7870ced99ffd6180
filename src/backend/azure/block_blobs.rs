//! Writing blobs where others have written, or are writing.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Extensions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::backend::failure::Failure;

/// A container whose blobs may be of another type than ours, or be written by others at the same time.
///
/// Docker's registry, before 3.1.2, wrote append blobs, links as well as layers. Azure never turns one type into another:
/// writing over such a blob is refused, so it is deleted first. For that moment the object is absent.
///
/// The blocks of an unfinished upload belong to the blob, not to the upload: of two uploads of one blob the first that
/// completes takes the other's blocks away. As a blob's name is its digest, the second has got what it wanted.
#[derive(Debug)]
pub(super) struct BlockBlobs<S> {
    inner: Arc<S>,
}

impl<S> BlockBlobs<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner: Arc::new(inner) }
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
                tracing::debug!(%location, "an append blob is replaced");
                match self.inner.delete(location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
                self.inner.put_opts(location, payload, options).await
            }
            result => result,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload { inner, store: Arc::clone(&self.inner), location: location.clone(), size: 0 }))
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

/// An upload that is done when somebody else has done it.
#[derive(Debug)]
struct Upload<S> {
    inner: Box<dyn MultipartUpload>,
    store: Arc<S>,
    location: Path,
    /// How many bytes were given.
    size: u64,
}

#[async_trait]
impl<S: ObjectStore> MultipartUpload for Upload<S> {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.size += data.content_length() as u64;
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let error = match self.inner.complete().await {
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

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
