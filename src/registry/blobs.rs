//! Blobs: looking for them, reading and deleting them.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use storage_layout::{BlobStat, ByteStream, Digest, Error, RepositoryName};

use super::dispatch::{Call, RegistryState, empty};
use super::error::ApiError;
use super::headers;
use super::range::Wanted;
use crate::transfer::BlobProgress;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// HEAD blob, end-2:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#checking-if-content-exists-in-the-registry>
pub(super) async fn head(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Response, ApiError> {
    let stat = find(&call.state, name, digest).await?;
    call.state.report_existing(&stat);
    let mut response = empty(StatusCode::OK, []);
    describe(&mut response, &stat, stat.size);
    Ok(response)
}

async fn find(state: &RegistryState, name: &RepositoryName, digest: &Digest) -> Result<BlobStat, Error> {
    let repository = state.repository(name);
    if state.adopt_blobs && !state.access.read_only {
        return repository.adopt_blob(digest).await;
    }
    match repository.stat_blob(digest).await {
        // A damaged link is mended by whoever sends the blob again, and nobody does while it is answered for.
        Err(Error::Corrupt { .. }) if !state.access.read_only => Err(Error::BlobUnknown(digest.clone())),
        found => found,
    }
}

/// GET blob, end-2: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs>
pub(super) async fn get(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Response, ApiError> {
    let repository = call.state.repository(name);
    // The one repository of a command's own registry is asked for what its manifest names, with or without a link.
    let stat = match call.state.access.repository {
        Some(_) => repository.locate_blob(digest).await?,
        None => repository.find_blob(digest).await?,
    };
    let (range, status) = match wanted(call, &stat) {
        Wanted::Whole => (None, StatusCode::OK),
        Wanted::Part(range) => (Some(range), StatusCode::PARTIAL_CONTENT),
        Wanted::Unsatisfiable => {
            let range = headers::value(format!("bytes */{}", stat.size));
            return Ok(empty(StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, range)]));
        }
    };
    let reader = repository.open_blob(&stat, range.clone()).await?;
    let length = range.as_ref().map_or(stat.size, |range| range.end - range.start);
    let progress = call.state.report_start(Some(digest), Some(length));
    let watched = Watched { left: length, state: Arc::clone(&call.state), digest: digest.clone(), progress };
    let body = watched.stream(reader.stream);
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    describe(&mut response, &stat, length);
    if let Some(range) = range {
        let range = headers::value(format!("bytes {}-{}/{}", range.start, range.end - 1, stat.size));
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

fn wanted(call: &Call, stat: &BlobStat) -> Wanted {
    // A client that goes on with something else is given the whole.
    let same = call.headers.get(header::IF_RANGE).is_none_or(|tag| *tag == headers::etag(&stat.digest));
    Wanted::parse(headers::text(&call.headers, header::RANGE).filter(|_| same), stat.size)
}

fn describe(response: &mut Response, stat: &BlobStat, length: u64) {
    let described = response.headers_mut();
    described.insert(header::CONTENT_TYPE, OCTETS);
    described.insert(header::CONTENT_LENGTH, length.into());
    described.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    described.insert(header::ETAG, headers::etag(&stat.digest));
    described.insert(headers::DOCKER_CONTENT_DIGEST, headers::value(stat.digest.as_str()));
}

/// A download that is told of.
struct Watched {
    /// How many bytes are still to come. hyper asks for no more when it has sent what was announced, so the end is counted.
    left: u64,
    state: Arc<RegistryState>,
    digest: Digest,
    progress: Box<dyn BlobProgress>,
}

impl Watched {
    /// Passes bytes on and tells of them. An error ends the answer before its announced length: the client then knows that it
    /// has not got the blob, and whoever runs this registry learns why.
    fn stream(self, stream: ByteStream) -> impl Stream<Item = io::Result<Bytes>> {
        futures::stream::unfold(Some((stream, self)), |watched| async move {
            let (mut stream, mut watched) = watched?;
            match stream.next().await? {
                Ok(bytes) => {
                    watched.progress.advanced(bytes.len() as u64);
                    watched.left = watched.left.saturating_sub(bytes.len() as u64);
                    if watched.left == 0 {
                        watched.progress.finished(&watched.digest);
                    }
                    Some((Ok(bytes), Some((stream, watched))))
                }
                Err(error) => {
                    let digest = &watched.digest;
                    let failure = Arc::new(Error::from_blob_stream(digest, error));
                    tracing::error!(%digest, failure = &*failure as &dyn std::error::Error, "a download is broken off");
                    let text = failure.to_string();
                    watched.state.journal.add_failure(failure);
                    Some((Err(io::Error::other(text)), None))
                }
            }
        })
    }
}

/// DELETE blob, end-10: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#deleting-blobs>
pub(super) async fn delete(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Response, ApiError> {
    call.state.repository(name).delete_blob(digest).await?;
    Ok(empty(StatusCode::ACCEPTED, []))
}
