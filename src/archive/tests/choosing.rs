use super::*;

const IMAGE_NAME: &str = "io.containerd.image.name";

#[tokio::test]
async fn a_name_picks_one_of_several_images() {
    let ground = Ground::new();
    let (one, mut two) = (legacy(&["app:latest", "app:v1"], &[b"one"]), legacy(&["team/app:v1"], &[b"two"]));
    two.0[0] = file("two/layer.tar", b"two");
    two.1["Layers"] = json!(["two/layer.tar"]);
    write_tar(&ground.path("a.tar"), &saved(&[one, two]));
    for (name, plain) in [
        ("app", b"one"),
        ("app:v1", b"one"),
        ("docker.io/library/app:latest", b"one"),
        ("team/app:v1", b"two"),
        ("index.docker.io/team/app:v1", b"two"),
    ] {
        let memory = ground.read("docker-archive", &format!("a.tar:{name}")).await.unwrap();
        let config = memory.root().await.unwrap().config().unwrap().digest.clone();
        assert_eq!(config, sha256(&config_of(&[plain])), "{name}");
    }
    for place in ["a.tar", "a.tar:app:v2"] {
        let refusal = message(ground.read("docker-archive", place).await);
        assert!(refusal.contains(r#""app:latest", "app:v1", "team/app:v1""#), "{refusal}");
    }
}

#[tokio::test]
async fn a_tag_picks_one_of_several_entries() {
    let ground = Ground::new();
    let memory = Memory::default();
    for (tag, bytes) in [("v1", b"one"), ("v2", b"two"), ("docker.io/team/app:v3", b"333")] {
        memory.add_image("amd64", &[bytes]);
        copy(&memory, ground.target("oci", &format!("dir:{tag}"), None).unwrap().as_ref()).await.unwrap();
    }
    for (place, bytes) in
        [("dir:v1", b"one"), ("dir:v2", b"two"), ("dir:v3", b"333"), ("dir:docker.io/team/app:v3", b"333")]
    {
        let root = Source::root(&ground.read("oci", place).await.unwrap()).await.unwrap();
        assert_eq!(root.layers()[0].digest, sha256(bytes), "{place}");
    }
    for place in ["dir", "dir:v4", "dir:1"] {
        let refusal = message(ground.read("oci", place).await);
        assert!(refusal.contains(r#""docker.io/team/app:v3", "v1", "v2""#), "{refusal}");
    }
}

/// What Docker's containerd store saves: an index below `index.json`, and `manifest.json` for one image of it.
fn containerd_save(memory: &Memory, index: &Manifest, image: &Manifest, left_out: &[&Digest]) -> Vec<Entry> {
    let blobs = memory.blobs.lock().unwrap();
    let kept = blobs.iter().filter(|(digest, _)| !left_out.contains(digest));
    let mut entries: Vec<Entry> = kept.map(|(_, bytes)| file(&blob_name(bytes), bytes)).collect();
    let mut entry = json!(index.descriptor());
    entry["annotations"] = json!({IMAGE_NAME: "docker.io/library/app:v1"});
    let layers: Vec<String> =
        image.layers().iter().map(|layer| format!("blobs/sha256/{}", layer.digest.hex())).collect();
    let config = format!("blobs/sha256/{}", image.config().unwrap().digest.hex());
    let saved = json!([{"Config": config, "RepoTags": ["app:v1"], "Layers": layers}]);
    entries.push(file("index.json", json!({"schemaVersion": 2, "manifests": [entry]}).to_string().as_bytes()));
    entries.push(file("manifest.json", saved.to_string().as_bytes()));
    entries.push(file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
    entries
}

#[tokio::test]
async fn an_index_that_is_all_there_is_kept_and_one_that_is_not_gives_its_image() {
    let ground = Ground::new();
    let memory = Memory::default();
    let amd64 = memory.add_image("amd64", &[b"one"]);
    let arm64 = memory.add_image("arm64", &[b"two"]);
    let index = memory.add_index(&[(&amd64, "amd64"), (&arm64, "arm64")]);
    let layer = sha256(b"two");
    for (left_out, expected) in [
        (vec![], &index),
        (vec![&layer], &amd64),
        (vec![arm64.digest(), &layer, &arm64.config().unwrap().digest], &amd64),
    ] {
        write_tar(&ground.path("a.tar"), &containerd_save(&memory, &index, &amd64, &left_out));
        for place in ["a.tar", "a.tar:app:v1"] {
            let back = ground.read("docker-archive", place).await.unwrap();
            assert_eq!(back.root().await.unwrap().bytes(), expected.bytes());
        }
    }
}

#[tokio::test]
async fn made_up_manifests_of_the_older_store_are_not_kept() {
    let ground = Ground::new();
    let plain = layer(9, 3000);
    let config = config_of(&[&plain]);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": described(media_type::OCI_CONFIG, &config),
        "layers": [described("application/vnd.oci.image.layer.v1.tar", &plain)],
    });
    let manifest = manifest.to_string().into_bytes();
    let index = json!({"schemaVersion": 2, "manifests": [described(media_type::OCI_MANIFEST, &manifest)]});
    let saved = json!([{"Config": blob_name(&config), "RepoTags": ["app:v1"], "Layers": [blob_name(&plain)]}]);
    let entries = [
        file(&blob_name(&config), &config),
        file(&blob_name(&plain), &plain),
        file(&blob_name(&manifest), &manifest),
        file("index.json", index.to_string().as_bytes()),
        file("manifest.json", saved.to_string().as_bytes()),
    ];
    write_tar(&ground.path("a.tar"), &entries);
    let root = Source::root(&ground.read("docker-archive", "a.tar").await.unwrap()).await.unwrap();
    assert_eq!(root.media_type(), media_type::DOCKER_MANIFEST);
    assert_eq!(root.layers()[0].media_type, media_type::DOCKER_LAYER_GZIP);
}

#[tokio::test]
async fn a_place_of_another_kind_is_named() {
    let ground = Ground::new();
    let memory = Memory::default();
    memory.add_image("amd64", &[b"one"]);
    copy(&memory, ground.target("oci", "dir:v1", None).unwrap().as_ref()).await.unwrap();
    copy(&memory, ground.target("oci-archive", "o.tar:v1", None).unwrap().as_ref()).await.unwrap();
    write_tar(&ground.path("d.tar"), &saved(&[legacy(&["app:v1"], &[b"one"])]));
    for (kind, place, expected) in [
        ("docker-archive", "dir", "is oci:"),
        ("docker-archive", "o.tar", "is oci-archive:"),
        ("oci-archive", "d.tar", "is docker-archive:"),
        ("oci", "o.tar", "is oci-archive:"),
        ("oci", "none", "no such folder"),
        ("oci-archive", "none", "no such file"),
        ("docker-archive", "none", "no such file"),
    ] {
        let refusal = message(ground.read(kind, place).await);
        assert!(refusal.contains(expected), "{refusal}");
    }
    for (kind, place) in [("docker-archive", "dir"), ("oci-archive", "dir"), ("oci", "d.tar"), ("oci", "")] {
        let refusal = message(ground.target(kind, place, None).map(drop));
        assert!(refusal.contains("; "), "{refusal}");
    }
}
