//! Reading and writing whole objects, with errors that say what was attempted.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{Error, Result};

/// Turns a store's error into ours.
pub(crate) fn store_error(attempted: &'static str, path: &Path) -> impl FnOnce(object_store::Error) -> Error {
    move |source| Error::Store { attempted, key: path.to_string(), source }
}

/// Turns a confirmed absence into `None` and passes every other failure on.
pub(crate) fn absent<T>(result: Result<T, object_store::Error>) -> Result<Option<T>, object_store::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The object store, as the layout uses it.
#[derive(Clone, Debug)]
pub(crate) struct Objects(pub(crate) Arc<dyn ObjectStore>);

impl Objects {
    /// Returns an object's bytes, or `None` if there is none. More than `limit` bytes are not read.
    pub(crate) async fn read(&self, path: &Path, limit: u64) -> Result<Option<Bytes>> {
        let Some(found) = absent(self.0.get(path).await).map_err(store_error("reading", path))? else {
            return Ok(None);
        };
        if found.meta.size > limit {
            let found = format!("has {} bytes where at most {limit} are expected", found.meta.size);
            return Err(Error::Corrupt { key: path.to_string(), found });
        }
        Ok(Some(found.bytes().await.map_err(store_error("reading", path))?))
    }

    /// Returns what the store knows of an object, or `None` if there is none.
    pub(crate) async fn stat(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        absent(self.0.head(path).await).map_err(store_error("looking for", path))
    }

    /// Writes an object at once, over an older one.
    pub(crate) async fn write(&self, path: &Path, bytes: Bytes) -> Result<()> {
        self.0.put(path, bytes.into()).await.map_err(store_error("writing", path))?;
        Ok(())
    }

    /// Deletes an object. That there is none is no error.
    pub(crate) async fn delete(&self, path: &Path) -> Result<()> {
        absent(self.0.delete(path).await).map_err(store_error("deleting", path))?;
        Ok(())
    }

    /// Returns all objects below `prefix`.
    pub(crate) async fn list(&self, prefix: &Path) -> Result<Vec<ObjectMeta>> {
        let listed = self.0.list(Some(prefix)).try_collect().await;
        Ok(absent(listed).map_err(store_error("listing", prefix))?.unwrap_or_default())
    }

    /// Returns the names of the folders directly below `prefix`.
    pub(crate) async fn folders(&self, prefix: &Path) -> Result<Vec<String>> {
        let listed = absent(self.0.list_with_delimiter(Some(prefix)).await).map_err(store_error("listing", prefix))?;
        let folders = listed.map(|listed| listed.common_prefixes).unwrap_or_default();
        Ok(folders.iter().filter_map(|folder| folder.filename().map(str::to_owned)).collect())
    }
}

/// How many small requests are under way at once for one question.
pub(crate) const FAN_OUT: usize = 16;

/// Runs `work` on every item, some at once, and returns the results in the items' order.
pub(crate) async fn for_each<I, T, F>(items: impl IntoIterator<Item = I>, work: impl FnMut(I) -> F) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>>,
{
    futures::stream::iter(items).map(work).buffered(FAN_OUT).try_collect().await
}
