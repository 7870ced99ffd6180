//! A remote registry: its connections, who asks, and what concerns no single repository.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, Url};
use serde::Deserialize;
use storage_layout::RepositoryName;

use super::auth::{Auth, Scope};
use super::http::{Failure, Http, Request};
use super::pages::Pages;
use super::retry::Retry;
use super::{Error, RegistryName, RemoteOptions, RemoteRepository};

/// A remote registry. Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct RemoteRegistry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: Http,
    auth: Auth,
    /// Whether the registry, or what is before it, takes no blob in one piece.
    sends_pieces: AtomicBool,
}

/// A request to the registry, which may be sent again.
#[derive(Debug)]
pub(super) struct Call<'a> {
    method: Method,
    target: Target,
    headers: HeaderMap,
    body: Bytes,
    scope: Scope,
    attempted: &'a str,
}

/// A short answer, read to its end.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Who answered, after all redirects.
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[derive(Debug)]
enum Target {
    /// Below `/v2/`.
    Path(String),
    /// Where the registry sent us.
    Url(Url),
}

impl<'a> Call<'a> {
    /// Makes a request for a path below `/v2/`. `attempted` says what it is for, as the beginning of an error.
    pub(super) fn new(method: Method, path: impl Into<String>, scope: Scope, attempted: &'a str) -> Self {
        let target = Target::Path(path.into());
        Self { method, target, headers: HeaderMap::new(), body: Bytes::new(), scope, attempted }
    }

    /// Makes a request for an address that the registry named.
    pub(super) fn at(method: Method, url: Url, scope: Scope, attempted: &'a str) -> Self {
        let target = Target::Url(url);
        Self { method, target, headers: HeaderMap::new(), body: Bytes::new(), scope, attempted }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

impl RemoteRegistry {
    /// Prepares to speak to a registry. It is not asked yet.
    ///
    /// # Errors
    /// If `options` cannot be used, such as a CA file that is not there.
    pub fn connect(name: &RegistryName, options: &RemoteOptions) -> Result<Self, Error> {
        let http = Http::new(name, options)?;
        let auth = Auth::new(&options.login);
        Ok(Self { inner: Arc::new(Inner { http, auth, sends_pieces: AtomicBool::new(false) }) })
    }

    /// Returns the registry's name.
    pub fn name(&self) -> &RegistryName {
        self.inner.http.name()
    }

    /// Returns one of its repositories. Whether it is there is not asked.
    pub fn repository(&self, name: &RepositoryName) -> RemoteRepository {
        RemoteRepository::new(self.clone(), name.clone())
    }

    /// Makes sure that the registry answers, and knows whoever asks. Returns whether it wanted to know.
    ///
    /// # Errors
    /// Of kind [`Kind::Credentials`](super::Kind::Credentials) if it does not take the credentials.
    pub async fn ping(&self) -> Result<bool, Error> {
        let attempted = format!("asking {}", self.name());
        drop(self.call(Call::new(Method::GET, "", Scope::nothing(), &attempted)).await?);
        Ok(self.inner.auth.was_asked_for().await)
    }

    /// Returns the names of all repositories, in byte order, as far as whoever asks may see them.
    ///
    /// # Errors
    /// Many registries do not list their repositories, or not to everybody.
    pub async fn repositories(&self) -> Result<Vec<RepositoryName>, Error> {
        #[derive(Deserialize)]
        struct Catalog {
            repositories: Option<Vec<String>>,
        }
        let attempted = format!("listing the repositories of {}", self.name());
        let pages = Pages::new(self, "_catalog?n=1000".to_owned(), Scope::catalog(), &attempted);
        pages.names(|page: Catalog| page.repositories.unwrap_or_default()).await
    }

    /// Sends a request, with credentials if it goes to the registry itself, and tries again what may help.
    ///
    /// # Errors
    /// Whatever is no success.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Response, Error> {
        Retry::new(self.http().options().retries).run(|| self.once(&call)).await
    }

    /// Does the same, and reads an answer that is no longer than `limit` bytes.
    pub(super) async fn fetch(&self, call: Call<'_>, limit: u64) -> Result<Fetched, Error> {
        let call = &call;
        let fetch = || async move {
            let answer = self.once(call).await?;
            let (url, headers) = (answer.url().clone(), answer.headers().clone());
            let body = self.http().read(call.attempted, answer, limit).await?;
            Ok(Fetched { url, headers, body })
        };
        Retry::new(self.http().options().retries).run(fetch).await
    }

    /// Sends a request, and once more if the registry says who may ask.
    pub(super) async fn once(&self, call: &Call<'_>) -> Result<Response, Failure> {
        let (http, auth) = (self.http(), &self.inner.auth);
        let url = self.url(&call.target, call.attempted).await?;
        let is_own = http.is_own(&url).await;
        let request = Request {
            method: call.method.clone(),
            url,
            headers: call.headers.clone(),
            body: call.body.clone(),
            attempted: call.attempted,
        };
        if !is_own {
            let answer = http.send(&request, None).await?;
            return http.succeed(call.attempted, answer).await;
        }
        let mut scope = call.scope.clone();
        let sent = auth.header(http, &scope, call.attempted).await?;
        let answer = http.send(&request, sent.clone()).await?;
        // A host that we were redirected to has no say in who asks.
        if answer.status() != reqwest::StatusCode::UNAUTHORIZED
            || !http.is_own(answer.url()).await
            || !auth.learn(http, answer.headers(), &mut scope, sent.as_ref()).await?
        {
            return http.succeed(call.attempted, answer).await;
        }
        let sent = auth.header(http, &scope, call.attempted).await?;
        let answer = http.send(&request, sent).await?;
        http.succeed(call.attempted, answer).await
    }

    /// Sends a body that cannot be sent again, to where the registry wants it.
    pub(super) async fn send_stream(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: reqwest::Body,
        scope: &Scope,
        attempted: &str,
    ) -> Result<Response, Failure> {
        let http = self.http();
        let mut request =
            http.client_for(url, attempted).await?.request(method, url.clone()).headers(headers).body(body);
        if http.is_own(url).await
            && let Some(authorization) = self.inner.auth.header(http, scope, attempted).await?
        {
            request = request.header(reqwest::header::AUTHORIZATION, authorization);
        }
        let answer = request.send().await.map_err(|error| http.failure(attempted, url, &error))?;
        http.succeed(attempted, answer).await
    }

    async fn url(&self, target: &Target, attempted: &str) -> Result<Url, Error> {
        match target {
            Target::Url(url) => Ok(url.clone()),
            Target::Path(path) => self.http().base().await.join(path).map_err(|error| Error::Unexpected {
                attempted: attempted.to_owned(),
                problem: format!("{path:?} is no path: {error}"),
            }),
        }
    }

    pub(super) fn http(&self) -> &Http {
        &self.inner.http
    }

    /// Tells whether blobs go in pieces here.
    pub(super) fn sends_pieces(&self) -> bool {
        self.inner.sends_pieces.load(Ordering::Relaxed)
    }

    /// Has all further blobs go in pieces.
    pub(super) fn send_pieces(&self) {
        self.inner.sends_pieces.store(true, Ordering::Relaxed);
    }
}
