//! Tags: the names that a repository gives to manifests.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::key::{Key, prefix};
use crate::link;
use crate::name::{Reference, Tag};
use crate::objects::for_each;
use crate::store::Repository;

/// Part of a sorted list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, sorted.
    pub items: Vec<T>,
    /// Whether there are more behind them.
    pub more: bool,
}

impl Repository {
    /// Sets a tag. The `current/link` is the last thing written: it is the moment from which clients see the image.
    pub(crate) async fn set_tag(&self, tag: &Tag, digest: &Digest) -> Result<()> {
        link::write(self.objects(), &Key::TagIndex(self.name.clone(), tag.clone(), digest.clone()), digest).await?;
        link::write(self.objects(), &Key::TagCurrent(self.name.clone(), tag.clone()), digest).await
    }

    /// Deletes a tag. The manifest that it names stays.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] if the repository has no such tag.
    pub async fn delete_tag(&self, tag: &Tag) -> Result<()> {
        let current = Key::TagCurrent(self.name.clone(), tag.clone()).path();
        if self.objects().stat(&current).await?.is_none() {
            return Err(self.unknown(&Reference::Tag(tag.clone())));
        }
        // From here on no client sees the tag, whatever becomes of the rest.
        self.objects().delete(&current).await?;
        let rest = self.objects().list(&prefix::tag(&self.name, tag)).await?;
        for_each(rest, |meta| async move { self.objects().delete(&meta.location).await }).await?;
        Ok(())
    }

    /// Returns the names below the tags' folder, sorted. Some may have lost what they name.
    pub(crate) async fn tag_names(&self) -> Result<Vec<Tag>> {
        let folders = self.objects().folders(&prefix::tags(&self.name)).await?;
        let mut tags: Vec<Tag> = folders.iter().filter_map(|folder| folder.parse().ok()).collect();
        tags.sort();
        Ok(tags)
    }

    /// Returns up to `limit` tags behind `last`, in byte order. A tag is listed only if it names a manifest: an interrupted push
    /// can leave one that does not.
    ///
    /// # Errors
    /// The store's. A repository that does not exist has no tags; [`Repository::exists`] tells the two apart.
    pub async fn list_tags(&self, limit: Option<usize>, last: Option<&str>) -> Result<Page<Tag>> {
        let limit = limit.unwrap_or(usize::MAX);
        let names = self.tag_names().await?;
        let mut names = names.into_iter().skip_while(|tag| last.is_some_and(|last| tag.as_str() <= last)).peekable();
        let mut items: Vec<Tag> = Vec::new();
        while items.len() < limit && names.peek().is_some() {
            let some: Vec<Tag> = names.by_ref().take((limit - items.len()).min(256)).collect();
            items.extend(for_each(some, |tag| self.keep_live(tag)).await?.into_iter().flatten());
        }
        let mut more = false;
        while !more && let Some(tag) = names.next() {
            more = self.keep_live(tag).await?.is_some();
        }
        Ok(Page { items, more })
    }

    async fn keep_live(&self, tag: Tag) -> Result<Option<Tag>> {
        let digest = match link::read(self.objects(), &Key::TagCurrent(self.name.clone(), tag.clone())).await {
            Ok(Some(digest)) => digest,
            Ok(None) | Err(Error::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(self.store.data_size(&digest).await?.map(|_| tag))
    }

    /// Tells whether anything was ever pushed to this repository.
    ///
    /// # Errors
    /// The store's.
    pub async fn exists(&self) -> Result<bool> {
        let folder = prefix::repository(&self.name);
        let folders = self.objects().folders(&folder).await?;
        Ok(folders.iter().any(|folder| matches!(folder.as_str(), "_manifests" | "_layers")))
    }
}
