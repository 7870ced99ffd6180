//! A folder store that never follows a symbolic link.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, future, stream};
use object_store::local::LocalFileSystem;
use object_store::path::{Path, PathPart};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::task::spawn_blocking;

/// A [`LocalFileSystem`] in which every component below the bucket's folder must be a real file or folder.
///
/// `LocalFileSystem` follows links, so a bucket that came from elsewhere could make `link -> /etc/passwd` an object, or
/// have a write land outside the bucket. Each component is looked at before use; someone who changes the folder in
/// between, with the user's own rights, is not defended against.
#[derive(Clone, Debug)]
pub(super) struct NoSymlinks {
    inner: LocalFileSystem,
    /// The bucket's folder, with the links on the way to it resolved.
    root: Arc<FilePath>,
}

/// Something that is neither a file nor a folder stands in the bucket.
#[derive(Debug, thiserror::Error)]
#[error("\"{}\" is {what}, which a bucket must not hold: remove it, or put a real file or folder there", path.display())]
struct Refused {
    path: PathBuf,
    what: &'static str,
}

/// One folder, read.
#[derive(Default)]
struct Folder {
    objects: Vec<ObjectMeta>,
    folders: Vec<Path>,
}

impl NoSymlinks {
    /// Wraps the folder `root`.
    ///
    /// # Errors
    /// If the folder does not exist.
    pub(super) fn new(root: &FilePath, fsync: bool) -> Result<Self> {
        let root = fs::canonicalize(root).map_err(|error| failed(root, &error))?;
        let inner = LocalFileSystem::new_with_prefix(&root)?.with_fsync(fsync).with_automatic_cleanup(false);
        Ok(Self { inner, root: root.into() })
    }

    /// Fails if an object's key leads over a link.
    async fn check(&self, location: &Path) -> Result<()> {
        let this = self.clone();
        let location = location.clone();
        spawn_blocking(move || this.check_now(&location)).await?
    }

    fn check_now(&self, location: &Path) -> Result<()> {
        let file = self.file_path(location)?;
        let Ok(below) = file.strip_prefix(&self.root) else {
            // The inner store builds its paths from the same root.
            return Err(failed(&file, &io::Error::other("outside the bucket's folder")));
        };
        let mut path = self.root.to_path_buf();
        for component in below.components() {
            path.push(component);
            match fs::symlink_metadata(&path) {
                Ok(metadata) => refuse_special(&path, &metadata)?,
                // What does not exist cannot lead anywhere; whether that is an error is the inner store's to say.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => break,
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        Ok(())
    }

    fn file_path(&self, location: &Path) -> Result<PathBuf> {
        // The inner store has a path for every key but the empty one.
        if location.is_root() { Ok(self.root.to_path_buf()) } else { self.inner.path_to_filesystem(location) }
    }

    /// Reads one folder. One that is not there is empty, as a prefix in a bucket is.
    fn read_folder(&self, prefix: &Path) -> Result<Folder> {
        let path = self.file_path(prefix)?;
        let mut folder = Folder::default();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(folder);
            }
            Err(error) => return Err(failed(&path, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed(&path, &error))?;
            let path = entry.path();
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Deleted since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path, &error)),
            };
            refuse_special(&path, &metadata)?;
            let name = entry.file_name();
            let Some(part) = name.to_str().and_then(|name| PathPart::parse(name).ok()) else {
                return Err(failed(&path, &io::Error::other("the name cannot be an object's key")));
            };
            let location = prefix.clone().join(part);
            if metadata.is_dir() {
                folder.folders.push(location);
            } else if !is_staging_file(location.filename().unwrap_or_default()) {
                let last_modified = metadata.modified().map_err(|error| failed(&path, &error))?.into();
                let size = metadata.len();
                folder.objects.push(ObjectMeta { location, last_modified, size, e_tag: None, version: None });
            }
        }
        Ok(folder)
    }

    /// Lists all objects below a prefix, a folder at a time.
    fn walk(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let this = self.clone();
        let prefix = prefix.cloned().unwrap_or_default();
        stream::once(async move {
            this.check(&prefix).await?;
            Ok::<_, object_store::Error>(stream::try_unfold(vec![prefix], move |mut pending| {
                let this = this.clone();
                async move {
                    let Some(next) = pending.pop() else { return Ok::<_, object_store::Error>(None) };
                    let folder = spawn_blocking(move || this.read_folder(&next)).await??;
                    pending.extend(folder.folders);
                    Ok(Some((stream::iter(folder.objects.into_iter().map(Ok)), pending)))
                }
            }))
        })
        .try_flatten()
        .try_flatten()
        .boxed()
    }
}

/// The inner store writes to `NAME#1` and renames: such a file is part of no object.
fn is_staging_file(name: &str) -> bool {
    let suffix = name.split_once('#').map_or("", |(_, suffix)| suffix);
    !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit())
}

fn refuse_special(path: &FilePath, metadata: &Metadata) -> Result<()> {
    let what = if metadata.is_symlink() {
        "a symbolic link"
    } else if metadata.is_dir() || metadata.is_file() {
        return Ok(());
    } else {
        // Opening a pipe would wait for a writer for ever.
        "a device, pipe or socket"
    };
    Err(generic(Refused { path: path.to_owned(), what }))
}

fn failed(path: &FilePath, error: &io::Error) -> object_store::Error {
    // Kept as an I/O error, so that its kind can be told from outside.
    generic(io::Error::new(error.kind(), format!("\"{}\": {error}", path.display())))
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "fs", source: Box::new(error) }
}

impl fmt::Display for NoSymlinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fs({})", self.root.display())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for NoSymlinks {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.check(location).await?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(location).await?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location).await?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location).await?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let checked = locations.and_then(move |location| {
            let this = this.clone();
            async move { this.check(&location).await.map(|()| location) }
        });
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.walk(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        self.walk(prefix).try_filter(move |object| future::ready(object.location > offset)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.check(&prefix).await?;
        let this = self.clone();
        let mut folder = spawn_blocking(move || this.read_folder(&prefix)).await??;
        folder.folders.sort();
        Ok(ListResult { common_prefixes: folder.folders, objects: folder.objects, extensions: <_>::default() })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(from).await?;
        self.check(to).await?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.check(from).await?;
        self.check(to).await?;
        self.inner.rename_opts(from, to, options).await
    }
}
