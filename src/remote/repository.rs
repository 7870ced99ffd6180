//! A repository of a remote registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use storage_layout::{
    Algorithm, ByteStream, Descriptor, Digest, MAX_MANIFEST_SIZE, Manifest, Reference, RepositoryName, Tag,
};

use super::auth::{Action, Scope};
use super::download::Download;
use super::pages::Pages;
use super::registry::Call;
use super::retry::Retry;
use super::upload::Upload;
use super::{Error, Kind, RemoteRegistry};
use crate::transfer;

/// How long is waited, at the end, for a registry to hear of what does not come any more.
const LAST_WORD: Duration = Duration::from_secs(3);
/// All that we read as a manifest.
const MANIFESTS: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json",
);
/// What a manifest's digest is, in the registry's words.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Says that the registry keeps what refers to a subject: the subject's digest.
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// A repository of a remote registry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RemoteRepository {
    registry: RemoteRegistry,
    name: RepositoryName,
    mount_from: Option<RepositoryName>,
    /// Uploads that a registry began where it could not mount, by digest.
    begun: Arc<Mutex<HashMap<Digest, Url>>>,
    /// Uploads that were given up without a word to the registry.
    abandoned: Arc<Mutex<Vec<Url>>>,
    /// Held while an index of referrers is changed.
    pub(super) changing_referrers: Arc<tokio::sync::Mutex<()>>,
}

impl RemoteRepository {
    pub(super) fn new(registry: RemoteRegistry, name: RepositoryName) -> Self {
        Self {
            registry,
            name,
            mount_from: None,
            begun: Arc::default(),
            abandoned: Arc::default(),
            changing_referrers: Arc::default(),
        }
    }

    /// Returns the registry.
    pub fn registry(&self) -> &RemoteRegistry {
        &self.registry
    }

    /// Returns the name in the registry.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// Has blobs that are not here looked for in another repository of the same registry: then they need not be sent.
    #[must_use]
    pub fn mounting_from(mut self, repository: RepositoryName) -> Self {
        self.mount_from = (repository != self.name).then_some(repository);
        self
    }

    pub(super) fn scope(&self, action: Action) -> Scope {
        Scope::of(&self.name, action)
    }

    /// Returns a path below this repository's.
    pub(super) fn path(&self, rest: impl fmt::Display) -> String {
        format!("{}/{rest}", self.name)
    }

    /// Returns how often a request to this registry is tried again.
    pub(super) fn new_retry(&self) -> Retry {
        Retry::new(self.registry.http().options().retries)
    }

    /// Returns the upload that was begun for a blob, if one was, and forgets it.
    pub(super) fn take_begun(&self, digest: &Digest) -> Option<Url> {
        self.begun.lock().expect("nothing panics while holding it").remove(digest)
    }

    /// Leaves an upload to [`transfer::Repository::settle`].
    pub(super) fn abandon(&self, upload: Url) {
        self.abandoned.lock().expect("nothing panics while holding it").push(upload);
    }

    /// Says that a blob does not come any more. A registry that does not hear it gives the upload up by itself.
    pub(super) async fn cancel(&self, upload: &Url) {
        let attempted = format!("giving up an upload to {self}");
        let call = Call::at(Method::DELETE, upload.clone(), self.scope(Action::Push), &attempted);
        if let Err(failure) = self.registry.once(&call).await {
            tracing::debug!(error = %failure.error, "the upload could not be cancelled");
        }
    }

    pub(super) async fn read_manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        let attempted = format!("reading {} of {self}", kind_and_name(reference));
        let path = self.path(format_args!("manifests/{reference}"));
        let call = Call::new(Method::GET, path, self.scope(Action::Pull), &attempted).header(ACCEPT, MANIFESTS);
        let answer = self.registry.fetch(call, MAX_MANIFEST_SIZE).await?;
        let damaged = |problem: String| Error::Damaged { attempted: attempted.clone(), problem };
        let expected = match reference {
            Reference::Digest(digest) => Some(digest.clone()),
            Reference::Tag(_) => content_digest(&answer.headers),
        };
        let algorithm = expected.as_ref().map_or(Algorithm::default(), Digest::algorithm);
        let actual = algorithm.digest(&answer.body);
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            return Err(damaged(format!("the content has digest {actual}, not {expected}")));
        }
        let declared = declared_type(&answer.headers);
        Manifest::parse(answer.body, algorithm, declared.as_deref()).map_err(|error| damaged(error.to_string()))
    }

    /// Stores a manifest under its digest or a tag. Returns whether the registry keeps what refers to its subject.
    pub(super) async fn write_manifest(&self, manifest: &Manifest, reference: &Reference) -> Result<bool, Error> {
        let attempted = format!("writing {} of {self}", kind_and_name(reference));
        let media_type = HeaderValue::from_str(manifest.media_type()).map_err(|_| Error::Unexpected {
            attempted: attempted.clone(),
            problem: "its media type holds characters that no header can".to_owned(),
        })?;
        let path = self.path(format_args!("manifests/{reference}"));
        let call = Call::new(Method::PUT, path, self.scope(Action::Push), &attempted)
            .header(CONTENT_TYPE, media_type)
            .body(manifest.bytes().clone());
        let answer = self.registry.call(call).await?;
        let digest = manifest.digest();
        match content_digest(answer.headers()) {
            Some(other) if other.algorithm() == digest.algorithm() && other != *digest => {
                let problem = format!("the registry took it for {other}, not {digest}");
                Err(Error::Damaged { attempted, problem })
            }
            _ => Ok(answer.headers().contains_key(OCI_SUBJECT)),
        }
    }

    /// Returns a blob's size in bytes, or `None` if it is not there. One whose size is not told is as good as none.
    pub(super) async fn size_of_blob(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let attempted = format!("looking for blob {digest} in {self}");
        let path = self.path(format_args!("blobs/{digest}"));
        match self.registry.call(Call::new(Method::HEAD, path, self.scope(Action::Pull), &attempted)).await {
            Ok(answer) => Ok(answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells whether a blob is there with its size. One of another size has to be sent again.
    pub(super) async fn has_whole_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        Ok(self.size_of_blob(&descriptor.digest).await? == Some(descriptor.size))
    }

    /// Asks the registry to take a blob from another of its repositories:
    /// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#mounting-a-blob-from-another-repository>.
    async fn mount(&self, descriptor: &Descriptor, from: &RepositoryName) -> Result<bool, Error> {
        let digest = &descriptor.digest;
        let attempted = format!("mounting blob {digest} of {from} in {self}");
        let path = self.path(format_args!("blobs/uploads/?mount={digest}&from={from}"));
        let scope = self.scope(Action::Push).and_pull(from);
        match self.registry.call(Call::new(Method::POST, path, scope, &attempted)).await {
            Ok(answer) if answer.status() == StatusCode::CREATED => Ok(true),
            // An upload has begun instead: the blob comes next.
            Ok(answer) => {
                let place = self.registry.http().location(&answer, &attempted)?;
                self.begun.lock().expect("nothing panics while holding it").insert(digest.clone(), place);
                Ok(false)
            }
            // Whoever may not read the other repository, or whose registry mounts nothing, sends the blob.
            Err(Error::Refused { answer, .. }) if matches!(answer.status, 400..=499) && answer.status != 429 => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for RemoteRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry.name(), self.name)
    }
}

#[async_trait]
impl transfer::Repository for RemoteRepository {
    async fn get_manifest(&self, reference: &Reference) -> Result<Manifest, transfer::Error> {
        Ok(self.read_manifest(reference).await?)
    }

    async fn put_manifest(&self, manifest: &Manifest, tags: &[Tag]) -> Result<(), transfer::Error> {
        let by_digest = [Reference::Digest(manifest.digest().clone())];
        let by_tag: Vec<Reference> = tags.iter().cloned().map(Reference::Tag).collect();
        let mut keeps_referrers = false;
        for reference in if by_tag.is_empty() { by_digest.as_slice() } else { &by_tag } {
            keeps_referrers = self.write_manifest(manifest, reference).await?;
        }
        if let Some(subject) = manifest.subject()
            && !keeps_referrers
        {
            self.list_referrer(&subject.digest, manifest).await?;
        }
        Ok(())
    }

    async fn delete_manifest(&self, digest: &Digest) -> Result<(), transfer::Error> {
        let subject = match self.read_manifest(&Reference::Digest(digest.clone())).await {
            Ok(manifest) => manifest.subject().map(|subject| subject.digest.clone()),
            // What cannot be read can still be deleted.
            Err(Error::Damaged { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let attempted = format!("deleting manifest {digest} of {self}");
        let path = self.path(format_args!("manifests/{digest}"));
        drop(self.registry.call(Call::new(Method::DELETE, path, self.scope(Action::Delete), &attempted)).await?);
        if let Some(subject) = subject {
            self.unlist_referrer(&subject, digest).await?;
        }
        Ok(())
    }

    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, transfer::Error> {
        if self.has_whole_blob(descriptor).await? {
            return Ok(true);
        }
        match &self.mount_from {
            Some(from) => Ok(self.mount(descriptor, from).await?),
            None => Ok(false),
        }
    }

    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, transfer::Error> {
        Ok(self.size_of_blob(digest).await?)
    }

    async fn get_blob(&self, descriptor: &Descriptor) -> Result<ByteStream, transfer::Error> {
        Ok(Download::open(self, descriptor).await?)
    }

    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), transfer::Error> {
        Upload::new(self, descriptor).send(body).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, transfer::Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let attempted = format!("listing the tags of {self}");
        let pages = Pages::new(&self.registry, self.path("tags/list?n=1000"), self.scope(Action::Pull), &attempted);
        Ok(pages.names(|page: Page| page.tags.unwrap_or_default()).await?)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, transfer::Error> {
        Ok(self.list_referrers(subject).await?)
    }

    async fn settle(&self) {
        let begun = std::mem::take(&mut *self.begun.lock().expect("nothing panics while holding it"));
        let abandoned = std::mem::take(&mut *self.abandoned.lock().expect("nothing panics while holding it"));
        let uploads: Vec<Url> = begun.into_values().chain(abandoned).collect();
        let cancelled = join_all(uploads.iter().map(|upload| self.cancel(upload)));
        if tokio::time::timeout(LAST_WORD, cancelled).await.is_err() {
            tracing::debug!("the registry does not answer, and keeps uploads until it gives them up by itself");
        }
    }
}

fn kind_and_name(reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("tag {tag}"),
        Reference::Digest(digest) => format!("manifest {digest}"),
    }
}

fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// Returns the media type of an answer, if it says anything: some registries send all as JSON.
fn declared_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let text = text.split(';').next().unwrap_or_default().trim();
    let says_nothing = matches!(text, "" | "application/json" | "text/plain" | "application/octet-stream");
    (!says_nothing).then(|| text.to_owned())
}
