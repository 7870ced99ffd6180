//! A remote registry: the connection, who asks, and what concerns no single repository.

use std::sync::Arc;

use reqwest::{Method, Response, StatusCode};
use storage_layout::RepositoryName;

use super::error::Answer;
use super::{Error, RegistryName, RemoteOptions, RemoteRepository};

/// A remote registry. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct RemoteRegistry {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) name: RegistryName,
    client: reqwest::Client,
    base: String,
}

impl RemoteRegistry {
    /// Prepares to speak to a registry. It is not asked yet.
    ///
    /// # Errors
    /// If `options` cannot be used, such as a CA file that is not there.
    pub fn connect(name: &RegistryName, options: &RemoteOptions) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .build()
            .map_err(|error| Error::Setting { setting: "the HTTP client".to_owned(), problem: error.to_string() })?;
        let scheme = if options.plain_http { "http" } else { "https" };
        let base = format!("{scheme}://{}/v2/", name.endpoint());
        Ok(Self { inner: Arc::new(Inner { name: name.clone(), client, base }) })
    }

    /// Returns the registry's name.
    pub fn name(&self) -> &RegistryName {
        &self.inner.name
    }

    /// Returns one of its repositories. Whether it is there is not asked.
    pub fn repository(&self, name: &RepositoryName) -> RemoteRepository {
        RemoteRepository::new(self.clone(), name.clone())
    }

    /// Makes sure that the registry answers, and knows whoever asks.
    pub async fn ping(&self) -> Result<(), Error> {
        let attempted = format!("logging in to {}", self.inner.name);
        self.send(Method::GET, "", &attempted, |request| request).await.map(drop)
    }

    /// Returns the names of all repositories, as far as whoever asks may see them.
    pub async fn repositories(&self) -> Result<Vec<RepositoryName>, Error> {
        let attempted = format!("listing the repositories of {}", self.inner.name);
        let answer = self.send(Method::GET, "_catalog?n=1000", &attempted, |request| request).await?;
        #[derive(serde::Deserialize)]
        struct Catalog {
            repositories: Vec<RepositoryName>,
        }
        let bytes = answer.bytes().await.map_err(|error| self.unreachable(&attempted, error))?;
        let catalog: Catalog = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Unexpected { attempted, problem: error.to_string() })?;
        Ok(catalog.repositories)
    }

    pub(super) fn unreachable(&self, attempted: &str, error: reqwest::Error) -> Error {
        Error::Unreachable {
            attempted: attempted.to_owned(),
            host: self.inner.name.to_string(),
            source: Box::new(error.without_url()),
        }
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        attempted: &str,
        with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<Response, Error> {
        let url = if path.contains("://") { path.to_owned() } else { format!("{}{path}", self.inner.base) };
        let request = with(self.inner.client.request(method, url));
        let answer = request.send().await.map_err(|error| self.unreachable(attempted, error))?;
        if answer.status().is_success() || answer.status() == StatusCode::ACCEPTED {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap_or_default();
        Err(Error::Refused { attempted: attempted.to_owned(), answer: Answer::new(status, &body) })
    }
}
