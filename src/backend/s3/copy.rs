//! Copies from another bucket of the same S3.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use hyper::header::{self, HeaderName};
use hyper::{Method, Request};
use object_store::aws::AmazonS3;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{Attribute, HeaderMap, HeaderValue, PutMultipartOptions, Result};
use tokio_util::sync::CancellationToken;

use crate::backend::answer::element;
use crate::backend::server_copy::{Copier, Sender, SourceObject, failed, unless_stopped};

const SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
const SOURCE_RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");
/// How long a signature holds: as long as the store lets its clock and ours differ.
const SIGNATURE: Duration = Duration::from_mins(15);
/// How many parts of one object are copied at once.
const PARTS_AT_ONCE: usize = 8;
/// The most parts that an object may have.
const MAX_PARTS: u64 = 10_000;
const MIB: u64 = 1024 * 1024;

/// How much is copied by one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portions {
    /// An object of this size is copied by one request, a larger one in parts. S3 takes 5 GiB at most.
    pub(super) whole: u64,
    /// The size of a part, 5 MiB at least.
    pub(super) part: u64,
}

impl Default for Portions {
    /// Far less than S3 takes: many stores answer only when all is copied, and within five minutes it has to be.
    fn default() -> Self {
        Self { whole: 1024 * MIB, part: 256 * MIB }
    }
}

impl Portions {
    /// Returns the parts to copy an object in: equal ones but the last, as some stores demand. There are none for an object that is
    /// copied by one request.
    fn parts(&self, size: u64) -> Vec<Range<u64>> {
        if size <= self.whole {
            return Vec::new();
        }
        let needed = size.div_ceil(MAX_PARTS);
        let part = if needed > self.part { needed.next_multiple_of(MIB) } else { self.part };
        (0..size.div_ceil(part)).map(|number| number * part..((number + 1) * part).min(size)).collect()
    }
}

/// Copies to one bucket.
pub(super) struct S3Copier {
    pub(super) store: Arc<AmazonS3>,
    pub(super) sender: Sender,
    /// The storage class of new objects.
    pub(super) storage_class: Option<String>,
    /// How new objects are encrypted, as S3 names it.
    pub(super) encryption: Option<String>,
    /// The key to encrypt them with.
    pub(super) kms_key: Option<String>,
    pub(super) portions: Portions,
}

#[async_trait]
impl Copier for S3Copier {
    async fn copy(&self, from: &SourceObject<'_>, to: &Path, stop: &CancellationToken) -> Result<()> {
        let parts = self.portions.parts(from.size);
        if parts.is_empty() {
            return unless_stopped(stop, self.copy_whole(from, to)).await;
        }
        let mut options = PutMultipartOptions::default();
        if let Some(class) = &self.storage_class {
            options.attributes.insert(Attribute::StorageClass, class.clone().into());
        }
        let upload = self.store.create_multipart_opts(to, options).await?;
        let copying = async {
            let parts = futures::stream::iter(parts.into_iter().enumerate())
                .map(|(index, range)| self.copy_part(from, to, &upload, index, range))
                .buffered(PARTS_AT_ONCE);
            self.store.complete_multipart(to, &upload, parts.try_collect().await?).await
        };
        let copied = unless_stopped(stop, copying).await;
        if copied.is_err()
            && let Err(error) = self.store.abort_multipart(to, &upload).await
        {
            tracing::warn!(path = %to, %error, "an unfinished upload could not be removed from the bucket");
        }
        copied.map(drop)
    }
}

impl S3Copier {
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>
    async fn copy_whole(&self, from: &SourceObject<'_>, to: &Path) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert(SOURCE, source(from)?);
        for (name, value) in [
            ("x-amz-storage-class", &self.storage_class),
            ("x-amz-server-side-encryption", &self.encryption),
            ("x-amz-server-side-encryption-aws-kms-key-id", &self.kms_key),
        ] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).map_err(failed)?);
            }
        }
        self.sender.send(|| self.request(to, &[], &headers)).await?;
        Ok(())
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>
    async fn copy_part(
        &self,
        from: &SourceObject<'_>,
        to: &Path,
        upload: &str,
        index: usize,
        range: Range<u64>,
    ) -> Result<PartId> {
        let mut headers = HeaderMap::new();
        headers.insert(SOURCE, source(from)?);
        let bytes = format!("bytes={}-{}", range.start, range.end - 1);
        headers.insert(SOURCE_RANGE, HeaderValue::from_str(&bytes).map_err(failed)?);
        // Parts of two versions are never put together.
        if let Some(e_tag) = from.e_tag {
            headers.insert(SOURCE_IF_MATCH, HeaderValue::from_str(e_tag).map_err(failed)?);
        }
        let query = [("partNumber", (index + 1).to_string()), ("uploadId", upload.to_owned())];
        let reply = self.sender.send(|| self.request(to, &query, &headers)).await?;
        let content_id =
            element(&reply.body, "ETag").ok_or_else(|| failed("the store copied a part and did not name it"))?;
        Ok(PartId { content_id })
    }

    async fn request(&self, to: &Path, query: &[(&str, String)], headers: &HeaderMap) -> Result<HttpRequest> {
        let mut options = SignedUrlOptions::new().with_query(query.iter().map(|(name, value)| (*name, value)));
        options.signed_headers = headers.clone();
        let url = self.store.signed_url_opts(Method::PUT, to, SIGNATURE, &options).await?;
        let mut request = Request::put(url.as_str()).header(header::CONTENT_LENGTH, 0);
        request.headers_mut().expect("a signed URL is one").extend(headers.clone());
        Ok(request.body(HttpRequestBody::empty()).expect("a signed URL is one"))
    }
}

/// Names an object as S3 wants the source of a copy named: as in a URL, with all escaped that can be. A `+` would be a space.
fn source(from: &SourceObject<'_>) -> Result<HeaderValue> {
    let escaped = from.key.as_ref().bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    HeaderValue::from_str(&format!("{}/{}", from.bucket, escaped.collect::<String>())).map_err(failed)
}

#[cfg(test)]
mod tests;
