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
