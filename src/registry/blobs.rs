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
    let found = repository.stat_blob(digest).await;
    if state.access.read_only {
        return found;
    }
    match found {
        Err(Error::BlobUnknown(_) | Error::Corrupt { .. }) if state.adopt_blobs => repository.adopt_blob(digest).await,
        // A client that hears of a damaged link gives up; one that hears of nothing sends the blob, which mends it.
        Err(Error::Corrupt { key, found }) => {
            tracing::warn!(key, found, "a damaged link is treated as missing");
            Err(Error::BlobUnknown(digest.clone()))
        }
        found => found,
    }
}

/// GET blob, end-2: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs>
pub(super) async fn get(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Response, ApiError> {
    let repository = call.state.repository(name);
    let stat = repository.find_blob(digest).await?;
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
    let body = watched(reader.stream, Arc::clone(&call.state), digest.clone(), progress);
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

/// Passes bytes on and tells of them. An error ends the answer before its announced length: the client then knows that it has
/// not got the blob, and whoever runs this registry learns why.
fn watched(
    stream: ByteStream,
    state: Arc<RegistryState>,
    digest: Digest,
    progress: Box<dyn BlobProgress>,
) -> impl Stream<Item = io::Result<Bytes>> {
    futures::stream::unfold(Some((stream, state, digest, progress)), |watched| async move {
        let (mut stream, state, digest, progress) = watched?;
        match stream.next().await {
            Some(Ok(bytes)) => {
                progress.advanced(bytes.len() as u64);
                Some((Ok(bytes), Some((stream, state, digest, progress))))
            }
            Some(Err(error)) => {
                let failure = Arc::new(Error::from_blob_stream(&digest, error));
                tracing::error!(%digest, failure = &*failure as &dyn std::error::Error, "a download is broken off");
                let text = failure.to_string();
                state.journal.add_failure(failure);
                Some((Err(io::Error::other(text)), None))
            }
            None => {
                progress.finished(&digest);
                None
            }
        }
    })
}

/// DELETE blob, end-10: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#deleting-blobs>
pub(super) async fn delete(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Response, ApiError> {
    call.state.repository(name).delete_blob(digest).await?;
    Ok(empty(StatusCode::ACCEPTED, []))
}
