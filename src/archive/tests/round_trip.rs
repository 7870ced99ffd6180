use std::io::{Read, Write};

use super::*;

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_saved_image_becomes_one_for_registries() {
    let ground = Ground::new();
    let (first, second) = (layer(1, 900_000), layer(2, 30));
    let layers: [&[u8]; 4] = [&first, &second, b"", &first];
    let (mut entries, image) = legacy(&["app:v1"], &layers);
    // As Docker writes a layer that it has written already.
    entries[3] = symlink(&format!("{:064x}/layer.tar", 3), &format!("../{:064x}/layer.tar", 0));
    write_tar(&ground.path("a.tar"), &saved(&[(entries, image)]));

    let memory = ground.read("docker-archive", "a.tar:docker.io/library/app:v1").await.unwrap();
    let root = memory.root().await.unwrap();
    assert_eq!(root.media_type(), media_type::DOCKER_MANIFEST);
    assert_eq!(memory.bytes(&root.config().unwrap().digest), config_of(&layers));
    assert_eq!(root.config().unwrap().media_type, media_type::DOCKER_CONFIG);
    assert_eq!(root.layers().len(), 4);
    for (descriptor, plain) in root.layers().iter().zip(layers) {
        assert_eq!(descriptor.media_type, media_type::DOCKER_LAYER_GZIP);
        assert_eq!(gunzip(&memory.bytes(&descriptor.digest)), plain);
    }
    assert_eq!(root.layers()[0], root.layers()[3]);
    let again = ground.read("docker-archive", "a.tar").await.unwrap();
    assert_eq!(again.root().await.unwrap().digest(), root.digest());
    assert_eq!(ground.names(), ["a.tar"]);
}

#[tokio::test]
async fn what_is_written_is_read_again_byte_for_byte() {
    let ground = Ground::new();
    let memory = Memory::default();
    let large = layer(3, 2_000_000);
    let root = memory.add_image("amd64", &[&large, b"", b"two", &large]);
    for (kind, written, read) in [
        ("docker-archive", "d.tar:team/app:v1", "d.tar:docker.io/team/app:v1"),
        ("docker-archive", "d.tar", "d.tar"),
        ("oci-archive", "o.tar:v1", "o.tar:v1"),
        ("oci-archive", "o.tar", "o.tar:v2"),
        ("oci", "dir:v1", "dir:v1"),
        ("oci", "dir", "dir:v2"),
    ] {
        let target = ground.target(kind, written, Some("app:v2")).unwrap();
        copy(&memory, target.as_ref()).await.unwrap();
        let back = ground.read(kind, read).await.unwrap();
        assert_eq!(back.root().await.unwrap().bytes(), root.bytes(), "{kind}:{written}");
        assert_eq!(back.bytes(&root.layers()[0].digest), large);
    }
    assert_eq!(ground.names(), ["d.tar", "dir", "o.tar"]);
    // The hybrid is an image layout too.
    let back = ground.read("oci-archive", "d.tar:v2").await.unwrap();
    assert_eq!(back.root().await.unwrap().digest(), root.digest());
}

#[tokio::test]
async fn one_layer_after_another_up_to_127_is_kept() {
    let ground = Ground::new();
    let layers: Vec<Vec<u8>> = (0..127).map(|number| layer(number, 500)).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    write_tar(&ground.path("a.tar"), &saved(&[legacy(&["app:v1"], &layers)]));
    let memory = ground.read("docker-archive", "a.tar").await.unwrap();
    let root = memory.root().await.unwrap();
    assert_eq!(root.layers().len(), 127);
    copy(&memory, ground.target("docker-archive", "b.tar", None).unwrap().as_ref()).await.unwrap();
    let back = ground.read("docker-archive", "b.tar").await.unwrap();
    assert_eq!(back.root().await.unwrap().bytes(), root.bytes());
}

#[tokio::test]
async fn an_index_keeps_its_platforms() {
    let ground = Ground::new();
    let memory = Memory::default();
    let amd64 = memory.add_image("amd64", &[b"one"]);
    let arm64 = memory.add_image("arm64", &[b"two"]);
    let root = memory.add_index(&[(&amd64, "amd64"), (&arm64, "arm64")]);
    for (kind, place) in [("oci-archive", "o.tar:v1"), ("oci", "dir:v1")] {
        copy(&memory, ground.target(kind, place, None).unwrap().as_ref()).await.unwrap();
        let back = ground.read(kind, place).await.unwrap();
        assert_eq!(back.root().await.unwrap().bytes(), root.bytes());
        assert_eq!(back.bytes(arm64.digest()), arm64.bytes());
    }
    let target = ground.target("docker-archive", "d.tar:app", None).unwrap();
    let refusal = message(copy(&memory, target.as_ref()).await);
    assert!(refusal.contains("choose it with --platform"), "{refusal}");
    drop(target);
    assert_eq!(ground.names(), ["dir", "o.tar"]);
}

#[tokio::test]
async fn a_compressed_archive_and_compressed_layers_are_taken() {
    type Pack = fn(&[u8]) -> Vec<u8>;
    let ground = Ground::new();
    let plain = layer(4, 5000);
    for (pack, expected) in [(gzip as Pack, media_type::DOCKER_LAYER_GZIP), (zstd, media_type::OCI_LAYER_ZSTD)] {
        let (entries, mut image) = legacy(&["app:v1"], &[&plain]);
        image["Layers"] = json!(["layer.tar.packed"]);
        let compressed = pack(&plain);
        let entries: Vec<Entry> = entries.into_iter().skip(1).chain([file("layer.tar.packed", &compressed)]).collect();
        std::fs::write(ground.path("packed.tar"), pack(&tar_of(&saved(&[(entries, image)])))).unwrap();
        let memory = ground.read("docker-archive", "packed.tar").await.unwrap();
        let root = memory.root().await.unwrap();
        assert_eq!(root.layers(), [described(expected, &compressed)]);
        assert_eq!(ground.names(), ["packed.tar"]);
    }
}

#[tokio::test]
async fn a_layout_keeps_its_other_images() {
    let ground = Ground::new();
    let digest_of =
        async |place: &str| Source::root(&ground.read("oci", place).await.unwrap()).await.unwrap().digest().clone();
    let memory = Memory::default();
    let first = memory.add_image("amd64", &[b"one"]);
    copy(&memory, ground.target("oci", "dir:v1", None).unwrap().as_ref()).await.unwrap();
    let second = memory.add_image("amd64", &[b"one", b"two"]);
    copy(&memory, ground.target("oci", "dir:v2", None).unwrap().as_ref()).await.unwrap();
    assert_eq!(digest_of("dir:v1").await, *first.digest());
    assert_eq!(digest_of("dir:v2").await, *second.digest());
    copy(&memory, ground.target("oci", "dir:v1", None).unwrap().as_ref()).await.unwrap();
    assert_eq!(digest_of("dir:v1").await, *second.digest());
    let index: Value = serde_json::from_slice(&std::fs::read(ground.path("dir/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn two_writings_give_the_same_tar() {
    let ground = Ground::new();
    let memory = Memory::default();
    memory.add_image("amd64", &[b"one", b"two"]);
    for name in ["a.tar", "b.tar"] {
        copy(&memory, ground.target("docker-archive", name, Some("app:v1")).unwrap().as_ref()).await.unwrap();
    }
    assert_eq!(std::fs::read(ground.path("a.tar")).unwrap(), std::fs::read(ground.path("b.tar")).unwrap());
}

#[cfg(unix)]
#[tokio::test]
async fn a_written_file_has_the_mode_of_any_file_and_a_link_is_kept() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let ground = Ground::new();
    std::fs::write(ground.path("real.tar"), "old").unwrap();
    symlink("real.tar", ground.path("a.tar")).unwrap();
    let usual = std::fs::metadata(ground.path("real.tar")).unwrap().permissions().mode();
    let memory = Memory::default();
    memory.add_image("amd64", &[b"one"]);
    copy(&memory, ground.target("oci-archive", "a.tar:v1", None).unwrap().as_ref()).await.unwrap();
    assert!(std::fs::symlink_metadata(ground.path("a.tar")).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(ground.path("real.tar")).unwrap().permissions().mode(), usual);
    ground.read("oci-archive", "real.tar:v1").await.unwrap();
}
