//! A repository of a remote registry.

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use reqwest::Method;
use storage_layout::{Algorithm, ByteStream, Descriptor, Digest, Manifest, Reference, RepositoryName, Tag};

use super::{Error, Kind, RemoteRegistry};
use crate::transfer;

/// A repository of a remote registry.
#[derive(Clone, Debug)]
pub struct RemoteRepository {
    registry: RemoteRegistry,
    name: RepositoryName,
    mount_from: Option<RepositoryName>,
}

impl RemoteRepository {
    pub(super) fn new(registry: RemoteRegistry, name: RepositoryName) -> Self {
        Self { registry, name, mount_from: None }
    }

    /// Returns the registry.
    pub fn registry(&self) -> &RemoteRegistry {
        &self.registry
    }

    /// Returns the name in the registry.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// Has blobs that are not here looked for in another repository of the same registry, which need not send them then.
    #[must_use]
    pub fn mounting_from(mut self, repository: RepositoryName) -> Self {
        self.mount_from = (repository != self.name).then_some(repository);
        self
    }
}

#[async_trait]
impl transfer::Repository for RemoteRepository {
    async fn get_manifest(&self, reference: &Reference) -> Result<Manifest, transfer::Error> {
        let attempted = format!("reading {reference} of {}/{}", self.registry.name(), self.name);
        let path = format!("{}/manifests/{reference}", self.name);
        let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
        let answer =
            self.registry.send(Method::GET, &path, &attempted, |request| request.header("Accept", accept)).await?;
        let bytes = answer.bytes().await.map_err(|error| self.registry.unreachable(&attempted, error))?;
        let algorithm = match reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::default(),
        };
        Ok(Manifest::parse(bytes, algorithm, None)?)
    }

    async fn put_manifest(&self, manifest: &Manifest, tags: &[Tag]) -> Result<(), transfer::Error> {
        let mut references: Vec<String> = tags.iter().map(ToString::to_string).collect();
        if references.is_empty() {
            references.push(manifest.digest().to_string());
        }
        for reference in references {
            let attempted = format!("writing {reference} of {}/{}", self.registry.name(), self.name);
            let path = format!("{}/manifests/{reference}", self.name);
            let with = |request: reqwest::RequestBuilder| {
                request.header("Content-Type", manifest.media_type()).body(manifest.bytes().clone())
            };
            drop(self.registry.send(Method::PUT, &path, &attempted, with).await?);
        }
        Ok(())
    }

    async fn delete_manifest(&self, digest: &Digest) -> Result<(), transfer::Error> {
        let attempted = format!("deleting {digest} of {}/{}", self.registry.name(), self.name);
        let path = format!("{}/manifests/{digest}", self.name);
        drop(self.registry.send(Method::DELETE, &path, &attempted, |request| request).await?);
        Ok(())
    }

    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, transfer::Error> {
        let attempted = format!("looking for {} in {}/{}", descriptor.digest, self.registry.name(), self.name);
        let path = format!("{}/blobs/{}", self.name, descriptor.digest);
        match self.registry.send(Method::HEAD, &path, &attempted, |request| request).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn get_blob(&self, descriptor: &Descriptor) -> Result<ByteStream, transfer::Error> {
        let attempted = format!("reading {} of {}/{}", descriptor.digest, self.registry.name(), self.name);
        let path = format!("{}/blobs/{}", self.name, descriptor.digest);
        let answer = self.registry.send(Method::GET, &path, &attempted, |request| request).await?;
        Ok(answer.bytes_stream().map_err(std::io::Error::other).boxed())
    }

    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), transfer::Error> {
        let attempted = format!("sending {} to {}/{}", descriptor.digest, self.registry.name(), self.name);
        let path = format!("{}/blobs/uploads/", self.name);
        let answer = self.registry.send(Method::POST, &path, &attempted, |request| request).await?;
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let location = answer
            .url()
            .join(location)
            .map_err(|error| Error::Unexpected { attempted: attempted.clone(), problem: error.to_string() })?;
        let separator = if location.query().is_some() { '&' } else { '?' };
        let url = format!("{location}{separator}digest={}", descriptor.digest);
        let with = |request: reqwest::RequestBuilder| {
            request
                .header("Content-Length", descriptor.size)
                .header("Content-Type", "application/octet-stream")
                .body(reqwest::Body::wrap_stream(body))
        };
        drop(self.registry.send(Method::PUT, &url, &attempted, with).await?);
        Ok(())
    }

    async fn tags(&self) -> Result<Vec<Tag>, transfer::Error> {
        #[derive(serde::Deserialize)]
        struct Tags {
            tags: Option<Vec<Tag>>,
        }
        let attempted = format!("listing the tags of {}/{}", self.registry.name(), self.name);
        let path = format!("{}/tags/list?n=1000", self.name);
        let answer = self.registry.send(Method::GET, &path, &attempted, |request| request).await?;
        let bytes = answer.bytes().await.map_err(|error| self.registry.unreachable(&attempted, error))?;
        let list: Tags = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Unexpected { attempted, problem: error.to_string() })?;
        let mut tags = list.tags.unwrap_or_default();
        tags.sort();
        Ok(tags)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, transfer::Error> {
        let attempted = format!("listing what refers to {subject} in {}/{}", self.registry.name(), self.name);
        let path = format!("{}/referrers/{subject}", self.name);
        let answer = match self.registry.send(Method::GET, &path, &attempted, |request| request).await {
            Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
            answer => answer?,
        };
        let bytes = answer.bytes().await.map_err(|error| self.registry.unreachable(&attempted, error))?;
        Ok(Manifest::parse(bytes, Algorithm::default(), None)?.manifests().to_vec())
    }
}
