//! Images that tests make.

use std::hash::{DefaultHasher, Hash, Hasher};

use storage_layout::Algorithm;
use storage_layout::test_util::noise;

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content).expect("writing to memory succeeds");
}

/// Returns a layer: a tar of one file of `length` bytes of noise.
pub(crate) fn layer(seed: &str, length: usize) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    append(&mut archive, &format!("files/{seed}"), &noise(hasher.finish(), length));
    archive.into_inner().expect("writing to memory succeeds")
}

/// Returns an image as `docker save` writes it, with uncompressed layers.
pub(crate) fn docker_save(name: &str, seed: &str, layers: &[usize]) -> Vec<u8> {
    let layers: Vec<Vec<u8>> =
        layers.iter().enumerate().map(|(index, &length)| layer(&format!("{seed}-{index}"), length)).collect();
    let diff_ids: Vec<String> = layers.iter().map(|layer| Algorithm::Sha256.digest(layer).to_string()).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/none"], "Labels": {"seed": seed}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": diff_ids.iter().map(|_| serde_json::json!({"created": "1970-01-01T00:00:00Z"})).collect::<Vec<_>>(),
    });
    let config = serde_json::to_vec(&config).expect("a value is written");
    let config_name = format!("{}.json", Algorithm::Sha256.digest(&config).hex());
    let mut archive = tar::Builder::new(Vec::new());
    let mut names = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        names.push(format!("{index}/layer.tar"));
        append(&mut archive, &names[index], layer);
    }
    append(&mut archive, &config_name, &config);
    let manifest = serde_json::json!([{"Config": config_name, "RepoTags": [name], "Layers": names}]);
    append(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    archive.into_inner().expect("writing to memory succeeds")
}

/// Returns the digest of the config in what [`docker_save`] made, which is the image's id.
pub(crate) fn config_digest(archive: &[u8]) -> String {
    let mut archive = tar::Archive::new(archive);
    let names = archive
        .entries()
        .expect("it is a tar")
        .map(|entry| entry.expect("it is whole").path().expect("a name").to_string_lossy().into_owned());
    let name = names
        .into_iter()
        .find_map(|name| name.strip_suffix(".json").filter(|hex| *hex != "manifest").map(str::to_owned));
    format!("sha256:{}", name.expect("there is a config"))
}

/// An image for several platforms.
#[derive(Debug)]
pub(crate) struct OciIndex {
    /// An OCI image layout as a tar, which `docker load` of containerd's store takes too.
    pub(crate) archive: Vec<u8>,
    pub(crate) digest: String,
    /// The digests of the images, one for each platform.
    pub(crate) images: Vec<String>,
    /// The digests of their configs.
    pub(crate) configs: Vec<String>,
}

/// Makes an image for several platforms, `linux/…` each, with one layer and one attestation for each.
pub(crate) fn oci_index(name: &str, seed: &str, architectures: &[&str]) -> OciIndex {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |media_type: &str, bytes: &[u8]| {
        let digest = Algorithm::Sha256.digest(bytes);
        append(&mut archive, &format!("blobs/sha256/{}", digest.hex()), bytes);
        serde_json::json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    };
    let digest_of = |descriptor: &serde_json::Value| descriptor["digest"].as_str().expect("it has one").to_owned();
    let (mut manifests, mut attestations, mut images, mut configs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for architecture in architectures {
        let layer = layer(&format!("{seed}-{architecture}"), 20_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &layer).expect("writing to memory succeeds");
        let blob = gzip.finish().expect("writing to memory succeeds");
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/none"], "Labels": {"seed": seed}},
            "rootfs": {"type": "layers", "diff_ids": [Algorithm::Sha256.digest(&layer).to_string()]},
        });
        let config = add("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        configs.push(digest_of(&config));
        let layers = [add("application/vnd.oci.image.layer.v1.tar+gzip", &blob)];
        let document =
            serde_json::json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
        let mut image = add(OCI_MANIFEST, document.to_string().as_bytes());
        image["platform"] = serde_json::json!({"architecture": architecture, "os": "linux"});
        images.push(digest_of(&image));
        let config = serde_json::json!({"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": []}, "of": images.last()});
        let config = add("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let statement = add("application/vnd.in-toto+json", format!("{{\"of\":{}}}", image["digest"]).as_bytes());
        let document =
            serde_json::json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [statement]});
        let mut attestation = add(OCI_MANIFEST, document.to_string().as_bytes());
        attestation["platform"] = serde_json::json!({"architecture": "unknown", "os": "unknown"});
        attestation["annotations"] = serde_json::json!({
            "vnd.docker.reference.digest": image["digest"], "vnd.docker.reference.type": "attestation-manifest",
        });
        manifests.push(image);
        attestations.push(attestation);
    }
    manifests.append(&mut attestations);
    let document = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let mut index = add(OCI_INDEX, document.to_string().as_bytes());
    let digest = digest_of(&index);
    let (_, tag) = name.rsplit_once(':').expect("the name has a tag");
    index["annotations"] = serde_json::json!({
        "io.containerd.image.name": format!("docker.io/library/{name}"), "org.opencontainers.image.ref.name": tag,
    });
    let document = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [index]});
    append(&mut archive, "index.json", document.to_string().as_bytes());
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    OciIndex { archive: archive.into_inner().expect("writing to memory succeeds"), digest, images, configs }
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
