//! What is packed comes back.

use std::os::unix::fs::symlink;

use super::*;

fn recipe(folder: &Path, files: &[&str]) -> Recipe {
    let mut recipe = Recipe::default();
    for file in files {
        let (name, media_type) = file.split_once(':').map_or((*file, None), |(name, kind)| (name, Some(kind)));
        let path = folder.join(name);
        // Paths that are absolute are no titles.
        recipe
            .annotations
            .files
            .insert(path.display().to_string(), BTreeMap::from([(TITLE.to_owned(), name.to_owned())]));
        recipe.files.push(InputFile { path, media_type: media_type.map(str::to_owned) });
    }
    recipe
}

/// A folder with all that a folder may have.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    fs::create_dir_all(root.join("sub/empty")).unwrap();
    fs::write(root.join("a.txt"), "a").unwrap();
    fs::write(root.join("sub/run.sh"), "#!/bin/sh").unwrap();
    fs::set_permissions(root.join("sub/run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(root.join("sub/ä ö"), vec![b'x'; 300_000]).unwrap();
    fs::write(root.join(format!("sub/{}", "n".repeat(180))), "").unwrap();
    symlink("../a.txt", root.join("sub/up")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    fs::write(dir.path().join("single"), "one file").unwrap();
    dir
}

#[tokio::test]
async fn files_and_folders_come_back_as_they_were() {
    let (from, to, repository) = (tree(), tempfile::tempdir().unwrap(), repository());
    let plan = recipe(from.path(), &["tree", "single:text/plain"]).check().unwrap();
    let packed = plan.pack(None, from.path()).await.unwrap();
    let manifest = push(&packed, &repository).await.unwrap();
    let output = to.path().join("new/folder");
    let pulled = pull(&repository, &manifest, &output, true).await.unwrap();
    assert_eq!(contents(&output), contents(from.path()));
    let paths: Vec<_> = pulled.iter().map(|file| (file.path.as_str(), file.media_type.as_str())).collect();
    assert_eq!(paths, [("tree", "application/vnd.oci.image.layer.v1.tar+gzip"), ("single", "text/plain")]);

    // Again: files that are there are kept when that is wanted, and all of them or none.
    fs::write(output.join("single"), "mine").unwrap();
    fs::remove_file(output.join("tree/a.txt")).unwrap();
    let before = contents(&output);
    let error = pull(&repository, &manifest, &output, true).await.unwrap_err();
    assert!(
        matches!(error, Error::File { ref source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists),
        "{error}"
    );
    assert_eq!(contents(&output), before);
    fs::write(output.join("tree/own"), "").unwrap();
    pull(&repository, &manifest, &output, false).await.unwrap();
    fs::remove_file(output.join("tree/own")).unwrap();
    assert_eq!(contents(&output), contents(from.path()));
}

#[tokio::test]
async fn the_folder_at_hand_comes_back_without_a_name() {
    let (from, to, repository) = (tree(), tempfile::tempdir().unwrap(), repository());
    let packed = recipe(from.path(), &["."]).check().unwrap().pack(None, &std::env::temp_dir()).await.unwrap();
    let manifest = push(&packed, &repository).await.unwrap();
    pull(&repository, &manifest, to.path(), true).await.unwrap();
    assert_eq!(contents(to.path()), contents(from.path()));
}

#[tokio::test]
async fn a_folder_has_one_digest_wherever_and_whenever_it_is_packed() {
    let digest = async |dir: &tempfile::TempDir| {
        let mut recipe = recipe(dir.path(), &["tree"]);
        recipe.annotations.manifest.insert(CREATED.to_owned(), "2026-01-01T00:00:00Z".to_owned());
        recipe.check().unwrap().pack(None, dir.path()).await.unwrap().manifest().digest().clone()
    };
    let (one, other) = (tree(), tree());
    let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::open(other.path().join("tree/a.txt")).unwrap().set_modified(past).unwrap();
    assert_eq!(digest(&one).await, digest(&other).await);
}

#[tokio::test]
async fn an_image_of_files_is_unpacked_again() {
    let (from, to, repository) = (tree(), tempfile::tempdir().unwrap(), repository());
    let plan = recipe(from.path(), &["tree", "single"]).check().unwrap();
    let packed = plan.clone().pack_image(from.path()).await.unwrap();
    assert_eq!(packed.manifest().media_type(), media_type::DOCKER_MANIFEST);
    assert_eq!(plan.pack_image(from.path()).await.unwrap().manifest().digest(), packed.manifest().digest());
    let manifest = push(&packed, &repository).await.unwrap();
    pull(&repository, &manifest, to.path(), false).await.unwrap();
    assert_eq!(contents(to.path()), contents(from.path()));

    let layer = (b"".to_vec(), json!({}));
    let several = artifact(&repository, media_type::OCI_CONFIG, &[layer.clone(), layer]).await;
    let error = pull(&repository, &several, to.path(), false).await.unwrap_err();
    assert!(error.to_string().contains("an image of 2 layers"), "{error}");
}

#[tokio::test]
async fn a_pull_that_is_given_up_leaves_nothing() {
    let (from, to, repository) = (tree(), tempfile::tempdir().unwrap(), repository());
    let packed = recipe(from.path(), &["tree"]).check().unwrap().pack(None, from.path()).await.unwrap();
    let manifest = push(&packed, &repository).await.unwrap();
    let output = to.path().join("out");
    for stop_early in [true, false] {
        let fetched = fetch(&repository, &manifest, &output, 2, &deaf()).await.unwrap();
        assert!(output.exists());
        let stop = CancellationToken::new();
        stop.cancel();
        if stop_early {
            drop(fetched);
        } else {
            drop(fetched.unpack(false, &stop).await.unwrap_err());
        }
        assert_eq!(contents(to.path()), BTreeMap::new());
    }
}

#[tokio::test]
async fn one_blob_may_be_several_files_and_a_layer_without_title_is_none() {
    let (to, repository) = (tempfile::tempdir().unwrap(), repository());
    let file = |title: &str| (b"same".to_vec(), json!({TITLE: title}));
    let layers = [file("a"), file("d/b"), file("c"), (b"unnamed".to_vec(), json!({}))];
    let manifest = artifact(&repository, "a/b", &layers).await;
    assert_eq!(pull(&repository, &manifest, to.path(), false).await.unwrap().len(), 3);
    for name in ["a", "d/b", "c"] {
        assert_eq!(fs::read(to.path().join(name)).unwrap(), b"same");
    }
    fs::write(to.path().join("a"), "other").unwrap();
    assert_eq!(fs::read(to.path().join("c")).unwrap(), b"same", "they are files of their own");
}

#[tokio::test]
async fn archives_of_other_tools_are_unpacked() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(5);
    builder.append_data(&mut header, "box/file", &b"hello"[..]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    builder.append_link(&mut header, "box/second", "box/file").unwrap();
    let plain = builder.into_inner().unwrap();
    let zstd = zstd::stream::encode_all(plain.as_slice(), 3).unwrap();
    for bytes in [plain, zstd] {
        let (to, repository) = (tempfile::tempdir().unwrap(), repository());
        let manifest = artifact(&repository, "a/b", &[(bytes, json!({TITLE: "box", UNPACK: "true"}))]).await;
        pull(&repository, &manifest, to.path(), false).await.unwrap();
        assert_eq!(fs::read(to.path().join("box/second")).unwrap(), b"hello");
        assert_eq!(fs::metadata(to.path().join("box/file")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_file_that_changes_is_not_pushed() {
    let (from, repository) = (tree(), repository());
    let packed = recipe(from.path(), &["single"]).check().unwrap().pack(None, from.path()).await.unwrap();
    assert!(packed.what_changed().is_none());
    fs::write(from.path().join("single"), "two files").unwrap();
    assert!(push(&packed, &repository).await.unwrap_err().to_string().contains("single\" changed"));
    assert!(packed.what_changed().is_some());
    assert!(repository.get_manifest(&"v1".parse().unwrap()).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn folders_that_nobody_should_unpack_are_not_packed() {
    let dir = tree();
    let refused = async |says: &str| {
        let plan = recipe(dir.path(), &["tree"]).check().unwrap();
        let error = plan.pack(None, dir.path()).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    let path = dir.path().join("tree/sub/bad");
    symlink("../../single", &path).unwrap();
    refused("is a link out of its folder").await;
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    refused("absolute").await;
    fs::remove_file(&path).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    refused("is neither file nor folder nor link").await;
    drop(listener);
    fs::remove_file(&path).unwrap();
    fs::write(dir.path().join("tree/A.TXT"), "").unwrap();
    refused("in case only").await;
}

#[tokio::test]
async fn what_is_attached_is_found_and_a_circle_has_an_end() {
    let repository = repository();
    let root = artifact(&repository, "a/root", &[]).await;
    let attach = async |subject: &Manifest, artifact_type: &str| {
        let recipe = Recipe { artifact_type: Some(artifact_type.to_owned()), ..Recipe::default() };
        let packed = recipe.check().unwrap().pack(Some(subject.descriptor()), &std::env::temp_dir()).await.unwrap();
        push(&packed, &repository).await.unwrap()
    };
    let sbom = attach(&root, "acme/sbom").await;
    let signature = attach(&sbom, "acme/signature").await;
    let other = attach(&root, "acme/signature").await;
    let found = discover(&repository, root.descriptor(), None).await.unwrap();
    let names = |found: &Discovered| -> Vec<Digest> { found.referrers.iter().map(|one| one.digest.clone()).collect() };
    let mut direct = [sbom.digest().clone(), other.digest().clone()];
    direct.sort();
    assert_eq!(names(&found), direct);
    let of_sbom = found.referrers.iter().find(|one| one.digest == *sbom.digest()).unwrap();
    assert_eq!(names(of_sbom), [signature.digest().clone()]);
    let found = discover(&repository, root.descriptor(), Some("acme/signature")).await.unwrap();
    assert_eq!(names(&found), [other.digest().clone()]);
}
