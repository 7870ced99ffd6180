//! The manifests of a repository, as its links tell.

use std::time::SystemTime;

use crate::digest::Digest;
use crate::error::Result;
use crate::key::{Key, prefix};
use crate::store::Repository;

impl Repository {
    /// Returns the digests of the manifests that were pushed last, the newest first, up to `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn newest_manifests(&self, limit: usize) -> Result<Vec<Digest>> {
        let mut revisions = self.revisions().await?;
        revisions.sort_by_key(|(_, modified)| std::cmp::Reverse(*modified));
        Ok(revisions.into_iter().take(limit).map(|(digest, _)| digest).collect())
    }

    /// Returns the digests of all manifests, with the time when each was last pushed.
    pub(crate) async fn revisions(&self) -> Result<Vec<(Digest, SystemTime)>> {
        let found = self.objects().list(&prefix::revisions(&self.name)).await?;
        let revision = |meta: object_store::ObjectMeta| match Key::parse(&meta.location) {
            Some(Key::RevisionLink(_, digest)) => Some((digest, meta.last_modified.into())),
            _ => None,
        };
        Ok(found.into_iter().filter_map(revision).collect())
    }
}
