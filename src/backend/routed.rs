//! Three clients of one bucket behind one store.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// Sends each request to the client whose time limits fit it.
///
/// A limit belongs to a client, and no single one fits all: 30 seconds are long for a question about an object, and cut
/// off a pull of a large layer.
pub(super) struct RoutedStore {
    /// For questions: short limits on the whole request.
    pub(super) meta: Arc<dyn ObjectStore>,
    /// For reading objects: no limit as long as bytes arrive.
    pub(super) get: Arc<dyn ObjectStore>,
    /// For writing objects and copying them inside the store: as long as one part may take.
    pub(super) put: Arc<dyn ObjectStore>,
    /// The storage class that new objects get, in the store's own word; the bucket's default if absent.
    pub(super) storage_class: Option<String>,
}

impl RoutedStore {
    fn classify_storage(&self, attributes: &mut Attributes) {
        if let Some(class) = &self.storage_class
            && attributes.get(&Attribute::StorageClass).is_none()
        {
            attributes.insert(Attribute::StorageClass, class.clone().into());
        }
    }
}

/// Says less than the clients do: their options hold the proxy's password.
impl fmt::Debug for RoutedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoutedStore({self})")
    }
}

impl fmt::Display for RoutedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.meta.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for RoutedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        self.classify_storage(&mut options.attributes);
        self.put.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        mut options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.classify_storage(&mut options.attributes);
        self.put.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let client = if options.head { &self.meta } else { &self.get };
        client.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.get.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.meta.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meta.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meta.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.meta.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.put.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.put.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutMode};

    use super::*;

    fn clients(storage_class: Option<&str>) -> (RoutedStore, [Arc<dyn ObjectStore>; 3]) {
        let [meta, get, put]: [Arc<dyn ObjectStore>; 3] = std::array::from_fn(|_| Arc::new(InMemory::new()) as _);
        let routed = RoutedStore {
            meta: Arc::clone(&meta),
            get: Arc::clone(&get),
            put: Arc::clone(&put),
            storage_class: storage_class.map(str::to_owned),
        };
        (routed, [meta, get, put])
    }

    #[tokio::test]
    async fn each_request_goes_to_its_client() {
        let (routed, [meta, get, put]) = clients(None);
        let path = Path::from("a");
        meta.put(&path, "meta".into()).await.unwrap();
        get.put(&path, "the get client".into()).await.unwrap();

        assert_eq!(routed.head(&path).await.unwrap().size, 4);
        assert_eq!(routed.get(&path).await.unwrap().bytes().await.unwrap(), "the get client");
        assert_eq!(routed.get_range(&path, 4..7).await.unwrap(), "get");
        routed.put(&Path::from("b"), "b".into()).await.unwrap();
        routed.copy(&Path::from("b"), &Path::from("c")).await.unwrap();
        let names = |store: &dyn ObjectStore| store.list(None).map_ok(|object| object.location).try_collect::<Vec<_>>();
        assert_eq!(names(&*put).await.unwrap(), [Path::from("b"), Path::from("c")]);
        assert_eq!(names(&routed).await.unwrap(), [Path::from("a")]);
        routed.delete(&path).await.unwrap();
        assert!(meta.head(&path).await.is_err());
        assert!(get.head(&path).await.is_ok());
    }

    #[tokio::test]
    async fn the_storage_class_is_set_only_when_asked_for() {
        for (asked, expected) in [(None, None), (Some("STANDARD_IA"), Some("STANDARD_IA"))] {
            let (routed, [_, _, put]) = clients(asked);
            let path = Path::from("a");
            routed.put_opts(&path, "a".into(), PutMode::Create.into()).await.unwrap();
            let attributes = put.get(&path).await.unwrap().attributes;
            assert_eq!(attributes.get(&Attribute::StorageClass).map(AsRef::as_ref), expected);

            let path = Path::from("b");
            let mut upload = routed.put_multipart(&path).await.unwrap();
            upload.put_part("b".into()).await.unwrap();
            upload.complete().await.unwrap();
            let attributes = put.get(&path).await.unwrap().attributes;
            assert_eq!(attributes.get(&Attribute::StorageClass).map(AsRef::as_ref), expected);
        }
    }
}
