//! Which size a blob should have.
//!
//! The layout keeps no sizes. A registry that answers for whatever length an object happens to have turns one truncated layer
//! into a broken image that every later push repeats: Docker's daemon takes the length from the answer to HEAD and sends
//! nothing. So before a blob is answered for, its length is held against the manifests that name it, and where none does, or
//! they disagree, the blob is read and hashed.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use futures::TryStreamExt;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::name::RepositoryName;
use crate::objects::for_each;
use crate::store::Repository;
use crate::verified;

/// How many manifests, the newest first, are read of the repository that is asked.
const OWN_MANIFESTS: usize = 128;
/// How many manifests are read of all other repositories together.
const OTHER_MANIFESTS: usize = 512;
/// How many blobs' sizes are remembered. A bucket may have more; they are then asked for again.
pub(crate) const REMEMBERED: usize = 100_000;
/// How long a blob may be read for to find out whether it is whole. Clients wait for 30 s at most; then it is sent again.
const READING: Duration = Duration::from_secs(20);

/// The sizes that manifests state.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    stated: Mutex<HashMap<Digest, HashSet<u64>>>,
    /// What was stored, or read to the end, by this process: surer than any manifest.
    proven: Mutex<HashMap<Digest, u64>>,
    /// The repositories whose manifests were read. Held while reading, so that several questions read them once.
    read: tokio::sync::Mutex<ReadRepositories>,
}

#[derive(Debug, Default)]
struct ReadRepositories {
    own: HashSet<RepositoryName>,
    others: bool,
}

impl Sizes {
    /// Remembers a blob that this process stored.
    pub(crate) fn learn_written(&self, digest: &Digest, size: u64) {
        let mut proven = self.proven.lock().expect("nothing panics while holding it");
        if proven.len() >= REMEMBERED {
            proven.clear();
        }
        proven.insert(digest.clone(), size);
    }

    /// Remembers what a manifest states.
    pub(crate) fn learn(&self, manifest: &Manifest) {
        let mut stated = self.stated.lock().expect("nothing panics while holding it");
        for descriptor in manifest.blobs() {
            stated.entry(descriptor.digest.clone()).or_default().insert(descriptor.size);
        }
    }

    /// Tells whether `size` is right, as far as is known without asking the bucket.
    fn known(&self, digest: &Digest, size: u64) -> Option<bool> {
        if let Some(&proven) = self.proven.lock().expect("nothing panics while holding it").get(digest) {
            return Some(proven == size);
        }
        let stated = self.stated.lock().expect("nothing panics while holding it");
        match stated.get(digest) {
            // One that disagrees may be the one that was written from a truncated blob: they prove nothing.
            Some(sizes) if sizes.len() == 1 => Some(sizes.contains(&size)),
            _ => None,
        }
    }

    /// Tells whether the object of `size` bytes that the bucket has for `digest` is the whole blob.
    pub(crate) async fn confirm(&self, repository: &Repository, digest: &Digest, size: u64) -> Result<bool> {
        if digest.is_of_nothing() {
            return Ok(size == 0);
        }
        if let Some(right) = self.known(digest, size) {
            return Ok(self.report(digest, size, right));
        }
        self.read_manifests(repository, digest, size).await?;
        if let Some(right) = self.known(digest, size) {
            return Ok(self.report(digest, size, right));
        }
        let right = read_through(repository, digest, size).await?;
        if right {
            self.learn_written(digest, size);
        }
        Ok(self.report(digest, size, right))
    }

    fn report(&self, digest: &Digest, size: u64, right: bool) -> bool {
        if !right {
            let stated = self.stated.lock().expect("nothing panics while holding it").get(digest).cloned();
            tracing::warn!(%digest, size, ?stated, "a blob in the bucket is not whole; it is treated as missing");
        }
        right
    }

    async fn read_manifests(&self, repository: &Repository, digest: &Digest, size: u64) -> Result<()> {
        let mut read = self.read.lock().await;
        self.forget_if_full(&mut read);
        if read.own.insert(repository.name.clone()) {
            self.read_newest(vec![repository.clone()], OWN_MANIFESTS).await?;
        }
        if self.known(digest, size).is_none() && !std::mem::replace(&mut read.others, true) {
            let names = repository.store.repositories().await?;
            let others: Vec<Repository> = names
                .iter()
                .filter(|&name| read.own.insert(name.clone()))
                .map(|name| repository.store.repository(name))
                .collect();
            self.read_newest(others, OTHER_MANIFESTS).await?;
        }
        Ok(())
    }

    fn forget_if_full(&self, read: &mut ReadRepositories) {
        let mut stated = self.stated.lock().expect("nothing panics while holding it");
        if stated.len() >= REMEMBERED {
            stated.clear();
            *read = ReadRepositories::default();
        }
    }

    async fn read_newest(&self, repositories: Vec<Repository>, limit: usize) -> Result<()> {
        let lists = for_each(repositories, |repository| async move {
            let revisions = repository.revisions().await?;
            Ok(revisions.into_iter().map(move |(digest, modified)| (repository.clone(), digest, modified)))
        });
        let lists = lists.await?;
        let mut revisions: Vec<_> = lists.into_iter().flatten().collect();
        revisions.sort_by_key(|(_, _, modified)| std::cmp::Reverse(*modified));
        revisions.truncate(limit);
        let manifests = for_each(revisions, |(repository, digest, _)| async move {
            // The link was listed a moment ago.
            match repository.get_linked_manifest(&digest).await {
                Ok(manifest) => Ok(Some(manifest)),
                // A manifest that is lost or damaged says nothing of sizes; whoever asks for it is told.
                Err(Error::ManifestUnknown { .. } | Error::Corrupt { .. } | Error::ManifestInvalid(_)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        for manifest in manifests.await?.iter().flatten() {
            self.learn(manifest);
        }
        Ok(())
    }
}

/// Reads a blob to its end, if that can be done in time.
async fn read_through(repository: &Repository, digest: &Digest, size: u64) -> Result<bool> {
    let reading = async {
        let mut stream = verified::open(&repository.store, digest, digest, size, None).await?;
        loop {
            match stream.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(true),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Ok(false),
                Err(error) => return Err(Error::from_blob_stream(digest, error)),
            }
        }
    };
    // Out of time is "not confirmed": the blob is then sent once more, which is safe.
    tokio::time::timeout(READING, reading).await.unwrap_or(Ok(false))
}
