//! Sending a blob: in one request where that works, in pieces where it does not.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs>
//!
//! A body is a stream and cannot be sent twice. A small one is held in memory and sent until it arrives. A large one goes straight
//! through; when that breaks off, whoever has it is asked for it again ([`transfer::Error::Interrupted`]). Once a registry, or a
//! proxy before it, has refused a blob for its size, blobs go in pieces, each of which is held until it has arrived.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::try_unfold;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Method, Response, Url};
use storage_layout::{ByteStream, Descriptor, Digester, Error as BucketError};

use super::auth::{Action, Scope};
use super::http::{Again, Failure};
use super::registry::{Call, RemoteRegistry};
use super::{Error, RemoteRepository};
use crate::transfer;

/// Blobs up to this size are held in memory, in bytes.
const SMALL: u64 = 4 * 1024 * 1024;
/// How large a piece is, in bytes.
const PIECE: usize = 8 * 1024 * 1024;
/// The largest piece that a registry can demand, in bytes.
const LARGEST_PIECE: usize = 64 * 1024 * 1024;
/// The smallest piece that is tried where larger ones are refused, in bytes.
const SMALLEST_PIECE: usize = 64 * 1024;
/// How much longer is waited for a registry that puts a blob together than for one that answers a question.
const PATIENCE: u32 = 5;
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// The smallest piece that a registry takes, in bytes.
const OCI_CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// A blob on its way.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    repository: &'a RemoteRepository,
    descriptor: &'a Descriptor,
    scope: Scope,
    attempted: String,
}

/// Where a registry waits for a blob. One that is dropped before its end is cancelled later.
#[derive(Debug)]
struct Session<'a> {
    repository: &'a RemoteRepository,
    url: Url,
    /// How large its pieces are to be, in bytes.
    piece: usize,
    has_ended: bool,
}

impl Session<'_> {
    /// Says that the blob does not come any more.
    async fn cancel(mut self) {
        self.repository.cancel(&self.url).await;
        self.has_ended = true;
    }

    /// The blob has arrived.
    fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.repository.abandon(self.url.clone());
        }
    }
}

/// A blob that did not arrive.
#[derive(Debug)]
enum Unsent {
    /// It may arrive if it is sent again from its start.
    Again(Error),
    Failed(Error),
}

impl From<Error> for Unsent {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Upload<'a> {
    pub(super) fn new(repository: &'a RemoteRepository, descriptor: &'a Descriptor) -> Self {
        let attempted = format!("sending blob {} to {repository}", descriptor.digest);
        Self { repository, descriptor, scope: repository.scope(Action::Push), attempted }
    }

    /// Sends the blob. Unless it has the digest and size that were promised, the registry never gets the end of it.
    pub(super) async fn send(self, body: ByteStream) -> Result<(), transfer::Error> {
        let (body, source) = watched(body, self.descriptor);
        let sent = if self.descriptor.size <= SMALL {
            self.send_small(body).await
        } else if self.registry().sends_pieces() {
            self.send_pieces(body).await
        } else {
            self.send_whole(body, &source).await
        };
        match (sent, source.take_failure()) {
            (Ok(()), _) => Ok(()),
            // What the registry says when the bytes stop coming counts for nothing.
            (Err(_), Some(failure)) => Err(failure.into()),
            (Err(Unsent::Again(error)), None) => Err(transfer::Error::Interrupted(Box::new(error))),
            (Err(Unsent::Failed(error)), None) => Err(error.into()),
        }
    }

    fn registry(&self) -> &RemoteRegistry {
        self.repository.registry()
    }

    /// Sends a blob that fits into memory, until it arrives.
    async fn send_small(&self, body: ByteStream) -> Result<(), Unsent> {
        let pieces: Vec<Bytes> = body.try_collect().await.map_err(|error| self.stopped(&error))?;
        let bytes = Bytes::from(pieces.concat());
        let mut retry = self.repository.new_retry();
        while !self.registry().sends_pieces() {
            let session = self.begin().await?;
            let call = self.call(Method::PUT, self.closing(&session.url)).body(bytes.clone());
            let Err(failure) = self.known(self.registry().once(&call).await).await else {
                session.end();
                return Ok(());
            };
            session.cancel().await;
            if is_too_large(&failure.error) {
                self.registry().send_pieces();
            } else if !retry.wait(failure.again).await {
                return Err(failure.error.into());
            }
        }
        self.send_pieces(futures::stream::iter([Ok(bytes)]).boxed()).await
    }

    /// Sends a blob in one request, as its bytes come.
    async fn send_whole(&self, body: ByteStream, source: &Source) -> Result<(), Unsent> {
        let session = self.begin().await?;
        let url = self.closing(&session.url);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, OCTETS);
        headers.insert(CONTENT_LENGTH, self.descriptor.size.into());
        let body = reqwest::Body::wrap_stream(body);
        let sent = self.registry().send_stream(Method::PUT, &url, headers, body, &self.scope, &self.attempted);
        let http = self.registry().http();
        let sent = source.unless_idle(http.options().timeouts.idle * PATIENCE, sent).await;
        let silent = || Err(Failure { error: http.silent(&self.attempted, &url), again: Again::Yes });
        let Err(failure) = self.known(sent.unwrap_or_else(silent)).await else {
            session.end();
            return Ok(());
        };
        session.cancel().await;
        if is_too_large(&failure.error) {
            self.registry().send_pieces();
            return Err(Unsent::Again(failure.error));
        }
        // A token that was good when the blob set out is renewed when it sets out again.
        if failure.again != Again::No || has_status(&failure.error, 401) {
            return Err(Unsent::Again(failure.error));
        }
        Err(failure.error.into())
    }

    /// Sends a blob in pieces.
    async fn send_pieces(&self, body: ByteStream) -> Result<(), Unsent> {
        let mut session = self.begin().await?;
        match self.continue_pieces(&mut session, body).await {
            Ok(()) => session.end(),
            Err(error) => {
                session.cancel().await;
                return Err(error);
            }
        }
        Ok(())
    }

    async fn continue_pieces(&self, session: &mut Session<'_>, mut body: ByteStream) -> Result<(), Unsent> {
        let (mut position, mut held, mut ended) = (0, BytesMut::new(), false);
        while !ended {
            match body.try_next().await.map_err(|error| self.stopped(&error))? {
                Some(bytes) => held.extend_from_slice(&bytes),
                None => ended = true,
            }
            // All pieces but the last are of one size, as some registries demand.
            while held.len() >= session.piece || (ended && !held.is_empty()) {
                let piece = held.split_to(held.len().min(session.piece)).freeze();
                position = self.send_piece(session, piece, position).await?;
            }
        }
        let mut retry = self.repository.new_retry();
        loop {
            let call = self.call(Method::PUT, self.closing(&session.url));
            let Err(failure) = self.known(self.registry().once(&call).await).await else { return Ok(()) };
            if !retry.wait(failure.again).await {
                return Err(failure.error.into());
            }
        }
    }

    /// Sends bytes that begin at `start` of the blob, and returns where the next ones begin.
    async fn send_piece(&self, session: &mut Session<'_>, mut bytes: Bytes, mut start: u64) -> Result<u64, Unsent> {
        let mut retry = self.repository.new_retry();
        while !bytes.is_empty() {
            let part = bytes.slice(..bytes.len().min(session.piece));
            let end = start + part.len() as u64;
            let range = HeaderValue::from_str(&format!("{start}-{}", end - 1)).expect("digits are a header");
            let call = self.call(Method::PATCH, session.url.clone()).header(CONTENT_RANGE, range).body(part.clone());
            let arrived = match self.registry().once(&call).await {
                Ok(answer) => {
                    self.follow(session, &answer)?;
                    // Without a word about it, all has arrived.
                    arrived(&answer).unwrap_or(end)
                }
                Err(failure) if is_too_large(&failure.error) && part.len() > SMALLEST_PIECE => {
                    session.piece = (part.len() / 4).max(SMALLEST_PIECE);
                    continue;
                }
                Err(failure) => {
                    // The registry knows another position than we do.
                    let again = if has_status(&failure.error, 416) { Again::Yes } else { failure.again };
                    if !retry.wait(again).await {
                        return Err(failure.error.into());
                    }
                    self.ask(session).await.map_err(Unsent::Again)?
                }
            };
            if !(start..=end).contains(&arrived) {
                let problem = format!("the registry has {arrived} bytes of it, not {start} to {end}");
                return Err(Unsent::Again(Error::Unexpected { attempted: self.attempted.clone(), problem }));
            }
            let new = usize::try_from(arrived - start).expect("a piece fits into memory");
            bytes = bytes.slice(new..);
            start = arrived;
        }
        Ok(start)
    }

    /// Asks how much of a blob has arrived, in bytes.
    async fn ask(&self, session: &mut Session<'_>) -> Result<u64, Error> {
        let answer = self.registry().call(self.call(Method::GET, session.url.clone())).await?;
        self.follow(session, &answer)?;
        Ok(arrived(&answer).unwrap_or(0))
    }

    /// Has a registry wait for the blob.
    async fn begin(&self) -> Result<Session<'a>, Error> {
        let session = |url, piece| Session { repository: self.repository, url, piece, has_ended: false };
        if let Some(url) = self.repository.take_begun(&self.descriptor.digest) {
            return Ok(session(url, PIECE));
        }
        let path = self.repository.path("blobs/uploads/");
        let call = Call::new(Method::POST, path, self.scope.clone(), &self.attempted);
        let answer = self.registry().call(call).await?;
        let url = self.registry().http().location(&answer, &self.attempted)?;
        let least = answer.headers().get(OCI_CHUNK_MIN_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let piece = least.unwrap_or(0).clamp(PIECE, LARGEST_PIECE);
        Ok(session(url, piece))
    }

    /// Takes over where the registry wants what comes next.
    fn follow(&self, session: &mut Session<'_>, answer: &Response) -> Result<(), Error> {
        if answer.headers().contains_key(LOCATION) {
            session.url = self.registry().http().location(answer, &self.attempted)?;
        }
        Ok(())
    }

    fn call(&self, method: Method, url: Url) -> Call<'_> {
        Call::at(method, url, self.scope.clone(), &self.attempted).header(CONTENT_TYPE, OCTETS)
    }

    /// Returns the address that ends an upload.
    fn closing(&self, url: &Url) -> Url {
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("digest", self.descriptor.digest.as_str());
        url
    }

    /// Returns what became of the last request of an upload. Its answer may be what was lost: then the blob is there.
    async fn known(&self, sent: Result<Response, Failure>) -> Result<(), Failure> {
        let Err(failure) = sent else { return Ok(()) };
        if failure.again != Again::No && self.repository.has_whole_blob(self.descriptor).await.unwrap_or(false) {
            return Ok(());
        }
        Err(failure)
    }

    /// What stopped the bytes is told by their source.
    fn stopped(&self, error: &io::Error) -> Error {
        Error::Unexpected { attempted: self.attempted.clone(), problem: error.to_string() }
    }
}

/// Returns how much of a blob a registry says it has, in bytes. A range cannot say that it has nothing: for that some say `0-0`.
fn arrived(answer: &Response) -> Option<u64> {
    let range = answer.headers().get(RANGE)?.to_str().ok()?;
    let (_, last) = range.trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}

fn has_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::Refused { answer, .. } if answer.status == status)
}

fn is_too_large(error: &Error) -> bool {
    has_status(error, 413)
}

/// What is known of the bytes of a blob that is sent.
#[derive(Clone, Debug, Default)]
struct Source(Arc<Watch>);

#[derive(Debug, Default)]
struct Watch {
    /// How often some more was taken.
    taken: AtomicU64,
    failure: Mutex<Option<BucketError>>,
}

impl Source {
    fn take_failure(&self) -> Option<BucketError> {
        self.0.failure.lock().expect("nothing panics while holding it").take()
    }

    fn fail(&self, failure: BucketError) -> io::Error {
        let text = failure.to_string();
        *self.0.failure.lock().expect("nothing panics while holding it") = Some(failure);
        io::Error::other(text)
    }

    /// Waits for `work` as long as it takes bytes. `None` if it takes none for as long as `limit`.
    async fn unless_idle<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let before = self.0.taken.load(Ordering::Relaxed);
            match tokio::time::timeout(limit, &mut work).await {
                Ok(done) => return Some(done),
                Err(_) if self.0.taken.load(Ordering::Relaxed) == before => return None,
                Err(_) => {}
            }
        }
    }
}

/// Watches the bytes of a blob. The last piece comes only if all of them have the digest and size that were promised.
fn watched(body: ByteStream, descriptor: &Descriptor) -> (ByteStream, Source) {
    let source = Source::default();
    let digester = Digester::new(descriptor.digest.algorithm());
    let state = (body, Some(digester), None::<Bytes>, source.clone(), descriptor.clone());
    let stream = try_unfold(state, async |(mut body, digester, mut held, source, descriptor)| {
        let Some(mut digester) = digester else { return Ok(None) };
        let (expected, promised) = (descriptor.digest.clone(), descriptor.size);
        while let Some(bytes) = body.try_next().await.map_err(|error| source.fail(BucketError::Body(error)))? {
            source.0.taken.fetch_add(1, Ordering::Relaxed);
            digester.update(&bytes);
            let actual = digester.length();
            if actual > promised {
                return Err(source.fail(BucketError::SizeMismatch { digest: expected, expected: promised, actual }));
            }
            if let Some(ready) = held.replace(bytes) {
                return Ok(Some((ready, (body, Some(digester), held, source, descriptor))));
            }
        }
        let length = digester.length();
        if length != promised {
            return Err(source.fail(BucketError::SizeMismatch {
                digest: expected,
                expected: promised,
                actual: length,
            }));
        }
        let actual = digester.finish();
        if actual != expected {
            return Err(source.fail(BucketError::DigestMismatch { expected, actual }));
        }
        Ok(held.take().map(|last| (last, (body, None, None, source, descriptor))))
    });
    (stream.boxed(), source)
}
