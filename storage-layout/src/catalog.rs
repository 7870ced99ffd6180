//! Which repositories a bucket has.

use crate::error::Result;
use crate::key::prefix;
use crate::name::RepositoryName;
use crate::objects::for_each;
use crate::store::Store;
use crate::tag::Page;

/// Deeper than any name that is 255 characters long.
const MAX_DEPTH: usize = 128;

impl Store {
    /// Returns all repositories that have manifests, sorted. Only folders are listed, level by level, never what is in them.
    ///
    /// # Errors
    /// The store's.
    pub async fn repositories(&self) -> Result<Vec<RepositoryName>> {
        let mut found: Vec<RepositoryName> = Vec::new();
        let mut level = vec![String::new()];
        for _ in 0..MAX_DEPTH {
            let listed = for_each(level, |name| async move {
                let folder = if name.is_empty() { prefix::repositories() } else { prefix::repositories_below(&name) };
                Ok((name, self.objects().folders(&folder).await?))
            });
            let mut next = Vec::new();
            for (name, folders) in listed.await? {
                if folders.iter().any(|folder| folder == "_manifests") {
                    found.extend(name.parse());
                }
                let below = folders.iter().filter(|folder| !folder.starts_with('_'));
                next.extend(
                    below.map(|folder| if name.is_empty() { folder.clone() } else { format!("{name}/{folder}") }),
                );
            }
            // What is no name cannot lead to one.
            next.retain(|name| name.parse::<RepositoryName>().is_ok());
            if next.is_empty() {
                break;
            }
            level = next;
        }
        found.sort();
        Ok(found)
    }

    /// Returns up to `limit` repositories behind `last`, in byte order.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_repositories(&self, limit: Option<usize>, last: Option<&str>) -> Result<Page<RepositoryName>> {
        let mut items = self.repositories().await?;
        items.retain(|name| last.is_none_or(|last| name.as_str() > last));
        let limit = limit.unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(Page { items, more })
    }
}
