//! Folder stores, and what all stores share.

use std::fs;

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode, WriteMultipart};
use tempfile::TempDir;

use super::*;

const OUTSIDE: &str = "content from outside";

fn config(dir: &TempDir) -> FsConfig {
    FsConfig { dir: dir.path().to_owned(), ..FsConfig::default() }
}

async fn open(config: FsConfig, bucket: &str, intent: Intent) -> Result<Arc<dyn ObjectStore>, Error> {
    BackendConfig::Fs(config).connect(bucket, intent).await
}

/// A bucket with one object `dir/real`, and a folder beside it with one file.
#[cfg(unix)]
async fn bucket_with_outside() -> (TempDir, Arc<dyn ObjectStore>) {
    let dir = TempDir::new().unwrap();
    let store = open(config(&dir), "bucket", Intent::Write).await.unwrap();
    store.put(&Path::from("dir/real"), "real".into()).await.unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::write(dir.path().join("outside/file"), OUTSIDE).unwrap();
    (dir, store)
}

#[test]
fn root_dirs_are_trimmed_once_and_checked() {
    for (text, expected) in [
        (None, ""),
        (Some(""), ""),
        (Some("/"), ""),
        (Some("a/b"), "a/b"),
        (Some("/a/b/"), "a/b"),
        (Some("a b"), "a b"),
    ] {
        assert_eq!(root_dir(text).unwrap().as_ref(), expected);
    }
    for bad in ["//", "//a", "a//", "a//b", ".", "..", "a/../b", "./a", "a\nb"] {
        assert_eq!(root_dir(Some(bad)).unwrap_err().kind(), Kind::Usage, "{bad:?}");
    }
}

#[tokio::test]
async fn the_root_dir_is_put_before_every_key() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir);
    config.options.root_dir = Some("/team/images/".to_owned());
    let store = open(config, "bucket", Intent::Write).await.unwrap();
    store.put(&Path::from("a/b"), "x".into()).await.unwrap();
    assert!(dir.path().join("bucket/team/images/a/b").is_file());
    let listed: Vec<_> = store.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
    assert_eq!(listed, [Path::from("a/b")]);
}

#[tokio::test]
async fn a_missing_folder_is_made_only_to_write() {
    let dir = TempDir::new().unwrap();
    let error = open(config(&dir), "bucket", Intent::Read).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains(&dir.path().join("bucket").display().to_string()), "{error}");
    assert!(!error.hints().is_empty());

    open(config(&dir), "bucket", Intent::Write).await.unwrap();
    assert!(dir.path().join("bucket").is_dir());
    open(config(&dir), "bucket", Intent::Read).await.unwrap();

    let absent = FsConfig { dir: dir.path().join("absent"), ..FsConfig::default() };
    assert_eq!(open(absent, "bucket", Intent::Write).await.unwrap_err().kind(), Kind::NotFound);
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(open(config(&dir), "file", Intent::Write).await.unwrap_err().kind(), Kind::Usage);
}

#[tokio::test]
async fn a_bucket_cannot_be_outside_its_folder() {
    let dir = TempDir::new().unwrap();
    for bucket in ["..", "../x", "a/../b", "/etc", "", ".", "a/", "a//b", "./a", "a\0b"] {
        let error = open(config(&dir), bucket, Intent::Write).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{bucket:?}: {error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn objects_are_written_read_listed_and_deleted() {
    let dir = TempDir::new().unwrap();
    let store = open(config(&dir), "bucket", Intent::Write).await.unwrap();
    let [one, two] = [Path::from("a/one"), Path::from("a/b/two")];
    store.put_opts(&one, "1".into(), PutMode::Create.into()).await.unwrap();
    let mut upload = WriteMultipart::new(store.put_multipart(&two).await.unwrap());
    upload.write(b"22");
    // What an upload has staged is part of no listing.
    assert_eq!(store.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    upload.finish().await.unwrap();
    assert_eq!(store.get(&two).await.unwrap().bytes().await.unwrap(), "22");

    let mut listed: Vec<_> = store.list(Some(&Path::from("a"))).try_collect().await.unwrap();
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    assert_eq!(listed.iter().map(|object| (&object.location, object.size)).collect::<Vec<_>>(), [(&two, 2), (&one, 1)]);
    let after: Vec<_> =
        store.list_with_offset(None, &two).map_ok(|object| object.location).try_collect().await.unwrap();
    assert_eq!(after, std::slice::from_ref(&one));
    let level = store.list_with_delimiter(Some(&Path::from("a"))).await.unwrap();
    assert_eq!(level.common_prefixes, [Path::from("a/b")]);
    assert_eq!(level.objects.len(), 1);
    assert!(store.list(Some(&Path::from("absent"))).try_collect::<Vec<_>>().await.unwrap().is_empty());

    store.copy(&one, &Path::from("c")).await.unwrap();
    store.rename(&Path::from("c"), &Path::from("d")).await.unwrap();
    assert!(matches!(store.head(&Path::from("c")).await, Err(object_store::Error::NotFound { .. })));
    store.delete(&one).await.unwrap();
    assert!(dir.path().join("bucket/a").is_dir());
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_refused_on_every_way_to_an_object() {
    use std::os::unix::fs::symlink;

    let (dir, store) = bucket_with_outside().await;
    let bucket = dir.path().join("bucket");
    symlink(dir.path().join("outside/file"), bucket.join("file-link")).unwrap();
    symlink(dir.path().join("outside"), bucket.join("dir-link")).unwrap();
    symlink("absent", bucket.join("broken-link")).unwrap();
    let real = Path::from("dir/real");

    for key in ["file-link", "dir-link/file", "dir-link/new", "broken-link", "broken-link/x"] {
        let path = Path::from(key);
        let failures = [
            ("get", store.get(&path).await.map(drop)),
            ("head", store.head(&path).await.map(drop)),
            ("range", store.get_range(&path, 0..1).await.map(drop)),
            ("put", store.put(&path, "x".into()).await.map(drop)),
            ("create", store.put_opts(&path, "x".into(), PutMode::Create.into()).await.map(drop)),
            ("multipart", store.put_multipart(&path).await.map(drop)),
            ("delete", store.delete(&path).await),
            ("copy from", store.copy(&path, &Path::from("copy")).await),
            ("copy to", store.copy(&real, &path).await),
            ("rename from", store.rename(&path, &Path::from("copy")).await),
            ("rename to", store.rename(&real, &path).await),
        ];
        for (what, result) in failures {
            let text = describe(&result.expect_err(what));
            let link = bucket.join(key.split('/').next().unwrap()).display().to_string();
            assert!(text.contains("is a symbolic link") && text.contains(&link), "{what} {key}: {text}");
            assert!(!text.contains(OUTSIDE));
        }
    }
    assert_eq!(fs::read_to_string(dir.path().join("outside/file")).unwrap(), OUTSIDE);
    assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 1);
    assert!(bucket.join("file-link").is_symlink());
    assert_eq!(store.get(&real).await.unwrap().bytes().await.unwrap(), "real");
}

#[cfg(unix)]
#[tokio::test]
async fn a_listing_fails_on_a_link() {
    use std::os::unix::fs::symlink;

    for (target, prefix) in
        [("../outside/file", None), ("../outside", None), ("absent", None), ("../outside", Some("link"))]
    {
        let (dir, store) = bucket_with_outside().await;
        symlink(target, dir.path().join("bucket/link")).unwrap();
        let prefix = prefix.map(Path::from);
        let listings = [
            store.list(prefix.as_ref()).try_collect::<Vec<_>>().await.map(drop),
            store.list_with_offset(prefix.as_ref(), &Path::from("a")).try_collect::<Vec<_>>().await.map(drop),
            store.list_with_delimiter(prefix.as_ref()).await.map(drop),
        ];
        for listing in listings {
            let text = describe(&listing.unwrap_err());
            assert!(text.contains("bucket/link\" is a symbolic link"), "{text}");
        }
        // A part of the bucket without links is as good as ever.
        assert_eq!(store.list(Some(&Path::from("dir"))).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_bucket_itself_may_be_behind_a_link() {
    use std::os::unix::fs::symlink;

    let (dir, _) = bucket_with_outside().await;
    symlink("bucket", dir.path().join("other-name")).unwrap();
    let store = open(config(&dir), "other-name", Intent::Read).await.unwrap();
    assert_eq!(store.get(&Path::from("dir/real")).await.unwrap().bytes().await.unwrap(), "real");
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_file_is_refused_instead_of_waited_for() {
    let (dir, store) = bucket_with_outside().await;
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("bucket/socket")).unwrap();
    let text = describe(&store.get(&Path::from("socket")).await.unwrap_err());
    assert!(text.contains("is a device, pipe or socket"), "{text}");
    assert!(store.list(None).try_collect::<Vec<_>>().await.is_err());
}

#[test]
fn debug_shows_no_secret() {
    let config = BackendConfig::S3(S3Config {
        access_key: Some("AKIA".to_owned()),
        secret_key: Some("hunter2".into()),
        session_token: Some("hunter2".into()),
        options: Options { proxy: Some("http://user:hunter2@proxy".into()), ..Options::default() },
        ..S3Config::default()
    });
    let debug = format!("{config:?}");
    assert!(debug.contains("[secret]") && !debug.contains("hunter2"), "{debug}");
}

#[test]
fn only_what_is_reached_in_the_same_way_is_of_the_same_service() {
    let s3 = |change: &dyn Fn(&mut S3Config)| {
        let mut config = S3Config { endpoint: Some("http://a".to_owned()), ..S3Config::default() };
        config.options.root_dir = Some("here".to_owned());
        change(&mut config);
        BackendConfig::S3(config)
    };
    let own = s3(&|_| {});
    for (same, other) in [
        (true, s3(&|_| {})),
        (true, s3(&|config| config.options.root_dir = None)),
        (false, s3(&|config| config.endpoint = None)),
        (false, s3(&|config| config.profile = Some("other".to_owned()))),
        (false, s3(&|config| config.secret_key = Some("other".into()))),
        (false, BackendConfig::Gcs(GcsConfig { endpoint: Some("http://a".to_owned()), ..GcsConfig::default() })),
    ] {
        assert_eq!(own.is_as(&other), same, "{other:?}");
    }
}
