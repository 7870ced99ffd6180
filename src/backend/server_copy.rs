//! Copies from bucket to bucket by the service that both are of.
//!
//! `object_store` copies within one bucket only, so the requests for this are our own. Each kind of store has a [`Copier`]; how
//! they are sent, and what a refusal means, is the same for all.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use async_trait::async_trait;
use object_store::client::{ClientOptions, HttpClient, HttpConnector, HttpRequest, ReqwestConnector};
use object_store::path::Path;
use object_store::{HeaderMap, ObjectMeta, ObjectStore, Result, RetryConfig};
use storage_layout::ServerCopy;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::error::Kind;
use super::failure::Failure;

/// A bucket that was opened.
pub(super) struct Opened {
    /// Its objects.
    pub(super) store: Arc<dyn ObjectStore>,
    /// What copies to it from other buckets, if the service does that.
    pub(super) copier: Option<Arc<dyn Copier>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

/// An object of another bucket, as that bucket tells of it.
pub(super) struct SourceObject<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: Path,
    /// Its size, in bytes.
    pub(super) size: u64,
    pub(super) e_tag: Option<&'a str>,
}

/// Asks a service to copy objects into one bucket.
#[async_trait]
pub(super) trait Copier: Send + Sync {
    /// Copies an object. Ends early when `stop` is cancelled, and takes back what it has begun whenever it fails.
    async fn copy(&self, from: &SourceObject<'_>, to: &Path, stop: &CancellationToken) -> Result<()>;
}

/// The copies from one bucket to another, each below its root folder.
pub(super) struct Copies {
    copier: Arc<dyn Copier>,
    root: Path,
    source_bucket: String,
    source_root: Path,
    /// Set once the service has refused: it would refuse the next one too.
    refused: AtomicBool,
}

/// Says nothing of the clients: their options hold the proxy's password.
impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copies").field("source_bucket", &self.source_bucket).finish_non_exhaustive()
    }
}

impl Copies {
    pub(super) fn new(copier: Arc<dyn Copier>, root: Path, source_bucket: &str, source_root: Path) -> Self {
        let source_bucket = source_bucket.to_owned();
        Self { copier, root, source_bucket, source_root, refused: AtomicBool::new(false) }
    }
}

#[async_trait]
impl ServerCopy for Copies {
    async fn copy(&self, from: &ObjectMeta, to: &Path, stop: &CancellationToken) -> Result<bool> {
        if self.refused.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let below = |root: &Path, path: &Path| root.parts().chain(path.parts()).collect::<Path>();
        let source = SourceObject {
            bucket: &self.source_bucket,
            key: below(&self.source_root, &from.location),
            size: from.size,
            e_tag: from.e_tag.as_deref(),
        };
        let Err(error) = self.copier.copy(&source, &below(&self.root, to), stop).await else { return Ok(true) };
        let Failure::Answered(answer) = Failure::of(&error) else { return Err(error) };
        match answer.status {
            // It has gone, or has changed, or something else is in its place: to be found out by reading and writing it.
            Some(404 | 409 | 412) => tracing::info!(key = %source.key, %answer, "a blob was not copied and is sent"),
            // One may read and write and yet not copy, and not every store that speaks the language can.
            Some(400 | 403 | 405 | 501) => {
                if !self.refused.swap(true, Ordering::Relaxed) {
                    tracing::info!(%answer, "the store does not copy between its buckets: blobs are read and written");
                }
            }
            _ => return Err(error),
        }
        Ok(false)
    }
}

/// Sends requests that `object_store` has no calls for, again and again if need be, as it does with its own.
pub(super) struct Sender {
    options: ClientOptions,
    retries: RetryConfig,
    /// Made when it is needed first: few of those who open a bucket copy to it.
    client: OnceLock<HttpClient>,
}

/// What was answered to a request that succeeded.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Sender {
    pub(super) fn new(options: ClientOptions, retries: RetryConfig) -> Self {
        Self { options, retries, client: OnceLock::new() }
    }

    /// Sends a request that does no harm when it is sent twice. It is made anew each time, since signatures do not last.
    ///
    /// # Errors
    /// One whose source is an [`Answer`] if the service refuses.
    pub(super) async fn send<F>(&self, make: impl Fn() -> F + Send) -> Result<Reply>
    where
        F: Future<Output = Result<HttpRequest>> + Send,
    {
        let (begun, mut pause, mut retries) = (Instant::now(), self.retries.backoff.init_backoff, 0);
        loop {
            let (error, may_pass) = match self.attempt(make().await?).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(answer)) => {
                    let may_pass = answer.kind() == Kind::Unavailable && answer.status != Some(501);
                    (failed(answer), may_pass)
                }
                Err(error) => (error, true),
            };
            if !may_pass || retries == self.retries.max_retries || begun.elapsed() > self.retries.retry_timeout {
                return Err(error);
            }
            retries += 1;
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = pause.mul_f64(self.retries.backoff.base).min(self.retries.backoff.max_backoff);
        }
    }

    fn client(&self) -> Result<&HttpClient> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = ReqwestConnector::default().connect(&self.options)?;
        Ok(self.client.get_or_init(|| client))
    }

    async fn attempt(&self, request: HttpRequest) -> Result<Result<Reply, Answer>> {
        let (parts, body) = self.client()?.execute(request).await.map_err(failed)?.into_parts();
        let body = String::from_utf8_lossy(&body.bytes().await.map_err(failed)?).into_owned();
        // S3 begins to answer before it has copied, and can only say in the body that it failed.
        if parts.status.is_success() && !body.contains("<Error>") {
            return Ok(Ok(Reply { headers: parts.headers, body }));
        }
        let mut answer = Answer::new(parts.status.as_u16(), &body);
        // An answer to HEAD has no body.
        let code = parts.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
        answer.code = answer.code.or(code.map(str::to_owned));
        Ok(Err(answer))
    }
}

/// Makes an error as `object_store` has them.
pub(super) fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic { store: "server-side copy", source: source.into() }
}

/// Runs `work` until it ends or `stop` is cancelled.
pub(super) async fn unless_stopped<T>(stop: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(failed("it was stopped")),
        done = work => done,
    }
}
