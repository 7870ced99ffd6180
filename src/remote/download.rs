//! Reading a blob: where the stream breaks off, it is taken up again at the same byte.

use std::io;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::try_unfold;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use storage_layout::{ByteStream, Descriptor};

use super::auth::Action;
use super::http::Again;
use super::registry::Call;
use super::retry::Retry;
use super::{Error, RemoteRepository};

/// After so many bytes a broken stream counts as a new one, so that neither a long blob on a bad line is given up nor a registry
/// waited for that sends a byte at a time, in bytes.
const PROGRESS: u64 = 1024 * 1024;

/// A blob on its way.
#[derive(Debug)]
pub(super) struct Download {
    repository: RemoteRepository,
    path: String,
    attempted: String,
    size: u64,
    answer: Response,
    /// How many bytes were handed out.
    position: u64,
    /// How many bytes of this answer were handed out before.
    skip: u64,
    /// What the registry knows these bytes by. Without it a second answer could be of others.
    etag: Option<HeaderValue>,
    retry: Retry,
    /// Where the present run of retries began.
    began_at: u64,
}

impl Download {
    /// Asks for a blob, and returns its bytes as they come.
    pub(super) async fn open(repository: &RemoteRepository, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        let attempted = format!("reading blob {} of {repository}", descriptor.digest);
        let path = repository.path(format_args!("blobs/{}", descriptor.digest));
        let call = Call::new(Method::GET, path.clone(), repository.scope(Action::Pull), &attempted);
        let answer = repository.registry().call(call).await?;
        if let Some(length) = number(&answer, CONTENT_LENGTH)
            && length != descriptor.size
        {
            let problem = format!("it has {length} bytes, not {}", descriptor.size);
            return Err(Error::Damaged { attempted, problem });
        }
        // A weak one does not stand for these very bytes.
        let is_strong = |etag: &HeaderValue| etag.as_bytes().starts_with(b"\"");
        let etag = answer.headers().get(ETAG).cloned().filter(is_strong);
        let download = Self {
            repository: repository.clone(),
            path,
            attempted,
            size: descriptor.size,
            answer,
            position: 0,
            skip: 0,
            etag,
            retry: repository.new_retry(),
            began_at: 0,
        };
        Ok(try_unfold(download, Self::next).boxed())
    }

    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        while self.position < self.size {
            let http = self.repository.registry().http();
            let failed = match http.next_piece(&mut self.answer).await {
                Ok(Ok(Some(piece))) => match self.take(piece).map_err(into_io)? {
                    Some(piece) => return Ok(Some((piece, self))),
                    None => continue,
                },
                Ok(Ok(None)) => {
                    let problem = format!("the registry sent {} of {} bytes", self.position, self.size);
                    Error::Damaged { attempted: self.attempted.clone(), problem }
                }
                Ok(Err(error)) => http.failure(&self.attempted, self.answer.url(), &error).error,
                Err(_) => http.silent(&self.attempted, self.answer.url()),
            };
            if self.position - self.began_at >= PROGRESS {
                (self.retry, self.began_at) = (self.repository.new_retry(), self.position);
            }
            if !self.retry.wait(Again::Yes).await {
                return Err(into_io(failed));
            }
            tracing::info!(error = %failed, "going on at byte {}", self.position);
            self.resume().await.map_err(into_io)?;
        }
        Ok(None)
    }

    /// Returns what of a piece is new.
    fn take(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, Error> {
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
        self.skip -= known as u64;
        drop(piece.split_to(known));
        self.position += piece.len() as u64;
        if self.position > self.size {
            return Err(self.damaged(format!("the registry sent more than {} bytes", self.size)));
        }
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// Asks for the rest. What comes must be of the same bytes: the target verifies the whole, but would have to begin anew.
    async fn resume(&mut self) -> Result<(), Error> {
        let scope = self.repository.scope(Action::Pull);
        let range = format!("bytes={}-", self.position);
        let range = HeaderValue::from_str(&range).expect("digits are a header");
        let mut call = Call::new(Method::GET, self.path.clone(), scope, &self.attempted).header(RANGE, range);
        if let Some(etag) = &self.etag {
            call = call.header(IF_RANGE, etag.clone());
        }
        let answer = self.repository.registry().call(call).await?;
        let is_same = self.etag.is_none() || answer.headers().get(ETAG) == self.etag.as_ref();
        if !is_same {
            return Err(self.damaged("it changed while it was read".to_owned()));
        }
        self.skip = match answer.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&answer, self.position) => 0,
            StatusCode::PARTIAL_CONTENT => return Err(self.damaged("the registry sent another part".to_owned())),
            // It sends from the start again, as it may.
            _ => self.position,
        };
        self.answer = answer;
        Ok(())
    }

    fn damaged(&self, problem: String) -> Error {
        Error::Damaged { attempted: self.attempted.clone(), problem }
    }
}

/// Tells whether a part begins at this byte.
fn starts_at(answer: &Response, position: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok());
    start == Some(position)
}

fn number(answer: &Response, name: HeaderName) -> Option<u64> {
    answer.headers().get(name)?.to_str().ok()?.parse().ok()
}

/// Makes the error of a stream of what went wrong.
fn into_io(error: Error) -> io::Error {
    let kind = match error {
        Error::Damaged { .. } => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
