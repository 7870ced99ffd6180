use std::io::Write;

use super::*;

fn good() -> Vec<Entry> {
    saved(&[legacy(&["app:v1"], &[b"one", b"two"])])
}

/// The `docker save` archive of one image after a change of `manifest.json`.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<Entry> {
    let (entries, mut image) = legacy(&["app:v1"], &[b"one", b"two"]);
    change(&mut image);
    saved(&[(entries, image)])
}

#[tokio::test]
async fn a_damaged_archive_is_refused_by_name() {
    let ground = Ground::new();
    let layer = |number: usize| format!("{number:064x}/layer.tar");
    let without = |name: String| {
        good().into_iter().filter(|entry| !matches!(entry, Entry::File(own, _) if *own == name)).collect()
    };
    let with = |more: Entry| good().into_iter().chain([more]).collect::<Vec<_>>();
    // 256 MiB of memory.
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    wide.window_log(28).unwrap();
    wide.write_all(b"two").unwrap();
    let wide = wide.finish().unwrap();
    let looped = vec![symlink(&layer(1), &format!("../{}", layer(0))), symlink(&layer(0), &format!("../{}", layer(1)))];
    let cases: Vec<(Vec<Entry>, &str)> = vec![
        (without(layer(1)), "000001/layer.tar\" and does not hold it"),
        (without("manifest.json".to_owned()), "has no manifest.json"),
        (with(file(&layer(1), b"twO")), "000001/layer.tar\" has the digest"),
        (with(file("manifest.json", b"{]")), "is damaged: manifest.json: "),
        (with(file("manifest.json", b"[]")), "there is no image in it"),
        (with(file("manifest.json", b"[{}]")), "is damaged: manifest.json: "),
        (with(file("index.json", b"junk")), "is damaged: index.json: "),
        (with(file(&layer(1), &[0x1f, 0x8b, 8, 0, 0, 0])), "is no whole gzip file"),
        (with(file(&layer(1), &zstd(b"twO"))), "000001/layer.tar\" has the digest"),
        (with(file(&layer(1), &zstd(b"two")[..9])), "is no whole zstd file"),
        (with(file(&layer(1), &[zstd(b"two"), b"more".to_vec()].concat())), "is no whole zstd file"),
        (with(file(&layer(1), &wide)), "is no whole zstd file"),
        (with(file(&layer(1), b"\xfd7zXZ\0...")), "compressed by xz"),
        (good().into_iter().chain(looped).collect(), "lead in a circle"),
        (changed(|image| image["Layers"] = json!(["../x", layer(1)])), "\"../x\" and does not hold it"),
        (changed(|image| image["Layers"] = json!(["/etc/passwd", layer(1)])), "\"/etc/passwd\" and does not hold it"),
        (changed(|image| image["Layers"] = json!([layer(0)])), "it lists 1 layers, the image's config 2"),
        (changed(|image| image["Config"] = json!("../c.json")), "the config \"../c.json\""),
        (changed(|image| image["Config"] = json!(layer(0))), "is damaged: the config"),
        (changed(|image| image["Layers"] = json!(["\u{1b}[31mx", layer(1)])), "\"\\u{1b}[31mx\""),
    ];
    for (entries, expected) in cases {
        let refusal = ground.refusal(&entries).await;
        assert!(refusal.contains(expected), "{refusal} has no {expected}");
        assert!(refusal.contains("docker-archive:/"), "{refusal}");
    }
    assert_eq!(ground.names(), ["x.tar"]);
}

#[tokio::test]
async fn an_archive_that_was_cut_anywhere_is_refused() {
    let ground = Ground::new();
    let whole = tar_of(&good());
    let end = whole.len() - 1024;
    for length in (1..=end).step_by(256).chain([end - 1, end, end + 511]) {
        std::fs::write(ground.path("a.tar"), &whole[..length]).unwrap();
        let refusal = message(ground.read("docker-archive", "a.tar").await);
        assert!(refusal.contains("is cut short"), "{length}: {refusal}");
    }
    std::fs::write(ground.path("a.tar"), b"").unwrap();
    assert!(message(ground.read("docker-archive", "a.tar").await).contains("is empty"));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&whole).unwrap();
    let compressed = encoder.finish().unwrap();
    for length in [compressed.len() - 1, compressed.len() / 2, 12] {
        std::fs::write(ground.path("a.tar"), &compressed[..length]).unwrap();
        let refusal = message(ground.read("docker-archive", "a.tar").await);
        assert!(refusal.contains("is cut short"), "{length}: {refusal}");
    }
}

#[tokio::test]
async fn what_readers_would_see_differently_is_refused() {
    let ground = Ground::new();
    let special = |kind: tar::EntryType, size: u64, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("x").unwrap();
        header.set_size(size);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend(tar_of(&good()));
        std::fs::write(ground.path("x.tar"), bytes).unwrap();
    };
    let pax = |record: &str| format!("{} {record}\n", record.len() + 4);
    let cases: Vec<(tar::EntryType, u64, String, &str)> = vec![
        (tar::EntryType::GNUSparse, 0, String::new(), "sparse file"),
        (tar::EntryType::XHeader, 0, pax("GNU.sparse.major=1"), "sparse file"),
        (tar::EntryType::XHeader, 0, pax("size=-1xxxxxxxx"), "no number"),
        (tar::EntryType::XHeader, 0, pax("size=99999999"), "is cut short"),
        (tar::EntryType::XHeader, 0, "99 path=x\n".to_owned(), "malformed"),
        (tar::EntryType::XGlobalHeader, 0, pax("path=xxxxxxxxx"), "one name or size"),
        (tar::EntryType::Symlink, 512, "x".repeat(512), "is no file and yet has a size"),
        (tar::EntryType::GNULongName, u64::MAX / 2, String::new(), "longer than 1 MiB"),
        (tar::EntryType::Regular, u64::MAX, String::new(), "is cut short"),
    ];
    for (kind, size, data, expected) in cases {
        special(kind, if size == 0 { data.len() as u64 } else { size }, data.as_bytes());
        let refusal = message(ground.read("docker-archive", "x.tar").await);
        assert!(refusal.contains(expected), "{refusal} has no {expected}");
    }
    // What no image needs is passed over.
    for kind in [tar::EntryType::Char, tar::EntryType::Fifo, tar::EntryType::Directory] {
        special(kind, 0, b"");
        ground.read("docker-archive", "x.tar").await.unwrap();
    }
    let passed_over = [
        file("../x", b"x"),
        file("/etc/passwd", b"x"),
        file("a/../../x", b"x"),
        file("\u{fffd}", b"x"),
        symlink("y", "../../x"),
    ];
    write_tar(&ground.path("x.tar"), &[passed_over.to_vec(), good()].concat());
    ground.read("docker-archive", "x.tar").await.unwrap();
}

#[tokio::test]
async fn other_compressions_name_their_tool() {
    let ground = Ground::new();
    for (magic, tool) in [(b"\xfd7zXZ\0.".as_slice(), "unxz /"), (b"BZh91AY&SY", "bunzip2 /")] {
        std::fs::write(ground.path("a.tar"), magic).unwrap();
        let refusal = message(ground.read("oci-archive", "a.tar").await);
        assert!(refusal.contains(tool), "{refusal}");
    }
    std::fs::write(ground.path("a.tar"), [b'x'; 2000]).unwrap();
    assert!(message(ground.read("oci-archive", "a.tar").await).contains("is not a tar archive"));
}

#[tokio::test]
async fn a_damaged_layout_is_refused() {
    let ground = Ground::new();
    let memory = Memory::default();
    let root = memory.add_image("amd64", &[b"one"]);
    copy(&memory, ground.target("oci", "dir:v1", None).unwrap().as_ref()).await.unwrap();
    let path = |name: &str| ground.path("dir").join(name);
    let manifest = path(&format!("blobs/sha256/{}", root.digest().hex()));
    let traversal = json!({"schemaVersion": 2, "manifests": [{"mediaType": media_type::OCI_MANIFEST, "digest": "sha256:../../../etc/passwd", "size": 1}]});
    let short =
        json!({"schemaVersion": 2, "manifests": [Descriptor::new(media_type::OCI_MANIFEST, root.digest().clone(), 1)]});
    let absent = json!({"schemaVersion": 2, "manifests": [described(media_type::OCI_MANIFEST, b"absent")]});
    let cases: Vec<(PathBuf, Vec<u8>, &str)> = vec![
        (path("oci-layout"), b"{}".to_vec(), "oci-layout"),
        (path("oci-layout"), br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec(), "version \"2.0.0\""),
        (path("index.json"), b"junk".to_vec(), "index.json"),
        (path("index.json"), traversal.to_string().into_bytes(), "is not a digest"),
        (path("index.json"), short.to_string().into_bytes(), "bytes, not 1"),
        (path("index.json"), absent.to_string().into_bytes(), "does not hold it"),
        (path("index.json"), br#"{"schemaVersion":2,"manifests":[]}"#.to_vec(), "no image in it"),
        (manifest.clone(), vec![b' '; usize::try_from(root.size()).unwrap()], "not a manifest"),
        (manifest, [root.bytes().trim_ascii_end(), b" "].concat(), "has the digest"),
        (path(&format!("blobs/sha256/{}", sha256(b"one").hex())), Vec::new(), ""),
    ];
    for (path, bytes, expected) in cases {
        let before = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let copied = match ground.source("oci", "dir").await {
            Ok(source) => copy(source.as_ref(), ground.target("oci", "other", None).unwrap().as_ref()).await,
            Err(error) => Err(error),
        };
        let refusal = copied.unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal} has no {expected}");
        std::fs::write(&path, before).unwrap();
    }
    ground.read("oci", "dir:v1").await.unwrap();
    std::fs::remove_file(path(&format!("blobs/sha256/{}", sha256(b"one").hex()))).unwrap();
    assert!(message(ground.read("oci", "dir").await).contains(sha256(b"one").as_str()));
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_in_a_layout_is_not_followed() {
    use std::os::unix::fs::symlink;
    let ground = Ground::new();
    let memory = Memory::default();
    memory.add_image("amd64", &[b"one"]);
    let blob = format!("blobs/sha256/{}", sha256(b"one").hex());
    for name in [blob.as_str(), "blobs/sha256", "blobs", "index.json", "oci-layout"] {
        copy(&memory, ground.target("oci", "dir:v1", None).unwrap().as_ref()).await.unwrap();
        let (path, elsewhere) = (ground.path("dir").join(name), ground.path("elsewhere"));
        std::fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(message(ground.read("oci", "dir:v1").await).contains("no plain file"), "{name}");
        let written = match ground.target("oci", "dir:v1", None) {
            Ok(target) => copy(&memory, target.as_ref()).await.map(drop),
            Err(error) => Err(error),
        };
        assert!(message(written).contains("no plain file"), "{name}");
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&elsewhere, &path).unwrap();
    }
}

#[tokio::test]
async fn a_failure_leaves_what_was_there() {
    let ground = Ground::new();
    std::fs::write(ground.path("a.tar"), "old").unwrap();
    let memory = Memory::default();
    let root = memory.add_image("amd64", &[b"one", b"two"]);
    let broken = || -> ByteStream {
        stream::iter([Ok(Bytes::from_static(b"on")), Err(std::io::Error::other("the line went dead"))]).boxed()
    };
    let bodies = [(&b"onE"[..], "has digest"), (b"on", "with 2 bytes"), (b"one more", "with 8 bytes")];
    let body = |bytes: &'static [u8]| -> ByteStream { stream::iter([Ok(Bytes::from_static(bytes))]).boxed() };
    let descriptor = &root.layers()[0];
    for (kind, place) in [("docker-archive", "a.tar:app"), ("oci-archive", "a.tar:v1"), ("oci", "dir:v1")] {
        for (bytes, expected) in bodies {
            let target = ground.target(kind, place, None).unwrap();
            let refusal = target.put_blob(descriptor, body(bytes)).await.unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal}");
            assert!(!target.has_blob(descriptor).await.unwrap());
        }
        let target = ground.target(kind, place, None).unwrap();
        target.put_blob(descriptor, broken()).await.unwrap_err();
        // Not even a caller who goes on gets an archive with a hole in it.
        if kind != "oci" {
            target.put_blob(descriptor, body(b"one")).await.unwrap();
            assert!(message(target.commit(&root).await).contains("is not whole"));
            let target = ground.target(kind, place, None).unwrap();
            assert!(message(target.commit(&root).await).contains("never came"));
            assert!(message(target.commit(&root).await).contains("is written already"));
        }
    }
    assert_eq!(std::fs::read(ground.path("a.tar")).unwrap(), b"old");
    assert_eq!(ground.names(), ["a.tar", "dir"]);
    // A layout that was begun is gone on with.
    assert!(message(ground.read("oci", "dir").await).contains("not written to its end"));
    copy(&memory, ground.target("oci", "dir:v1", None).unwrap().as_ref()).await.unwrap();
    ground.read("oci", "dir:v1").await.unwrap();
}
