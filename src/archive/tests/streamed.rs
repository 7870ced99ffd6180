//! Archives that are read as they come, in whatever pieces and order.

use super::*;
use crate::archive::{DockerStream, StreamedLayer};

/// A tar of entries, links where the content begins with an arrow.
fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        if let Some(target) = content.strip_prefix(b"-> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, std::str::from_utf8(target).unwrap()).unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, *content).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn streamed(bytes: &[u8], cut: usize) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(cut).map(Bytes::copy_from_slice).map(Ok).collect();
    stream::iter(pieces).boxed()
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| sha256(layer)).collect();
    json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        .to_string()
        .into_bytes()
}

fn manifest(config: &str, layers: &[&str]) -> Vec<u8> {
    json!([{"Config": config, "RepoTags": ["app:v1"], "Layers": layers}]).to_string().into_bytes()
}

type Read = (Vec<(StreamedLayer, Bytes)>, crate::archive::ImageConfig);

async fn read(bytes: &[u8], cut: usize, diff_ids: &[Digest]) -> Result<Read, Error> {
    let mut reader = DockerStream::new("an archive".to_owned(), streamed(bytes, cut), diff_ids);
    let mut layers = Vec::new();
    while let Some(layer) = reader.next_layer().await? {
        let content: Result<BytesMut, _> = reader.layer().try_collect().await;
        match content {
            Ok(content) => layers.push((layer, content.freeze())),
            Err(error) => return Err(reader.failed(error)),
        }
    }
    Ok((layers, reader.finish()?))
}

const A: &[u8] = &[1; 700];
const B: &[u8] = b"another layer";

#[tokio::test]
async fn layers_are_found_in_any_order_and_in_any_pieces() {
    let (config, diff_ids) = (config(&[A, B, A]), [sha256(A), sha256(B), sha256(A)]);
    let name = format!("{}.json", sha256(&config).hex());
    let manifest = manifest(&name, &["a/layer.tar", "b/layer.tar", "c/layer.tar"]);
    let (a, b) = (format!("{}.tar", sha256(A).hex()), blob_name(B));
    let old: &[(&str, &[u8])] = &[
        ("a/VERSION", b"1.0"),
        ("a/json", b"{}"),
        ("a/layer.tar", A),
        (&name, &config),
        ("b/layer.tar", B),
        ("c/layer.tar", b"-> ../a/layer.tar"),
        ("manifest.json", &manifest),
        ("repositories", b"{}"),
    ];
    // As podman and newer versions of Docker call layers, and what they have in common with none.
    let new: &[(&str, &[u8])] =
        &[("manifest.json", &manifest), (&a, A), (&name, &config), ("blobs/sha256/00", b"what?"), (&b, B)];
    for (entries, guessed) in [(old, false), (new, true)] {
        let archive = tar_of(entries);
        for cut in [1, 511, 512, 513, 100_000] {
            let (layers, read) = read(&archive, cut, &diff_ids).await.unwrap();
            assert_eq!((read.bytes().as_ref(), read.diff_ids()), (config.as_slice(), diff_ids.as_slice()));
            let expected = |content: &'static [u8]| {
                let probably = guessed.then(|| sha256(content));
                (StreamedLayer { probably, size: content.len() as u64 }, Bytes::from_static(content))
            };
            assert_eq!(layers, [expected(A), expected(B)], "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn what_is_passed_over_does_not_move_what_follows() {
    let config = config(&[A, B]);
    let name = format!("{}.json", sha256(&config).hex());
    let manifest = manifest(&name, &["a/layer.tar", "b/layer.tar"]);
    let archive = tar_of(&[("a/layer.tar", A), ("b/layer.tar", B), (&name, &config), ("manifest.json", &manifest)]);
    let mut reader = DockerStream::new("an archive".to_owned(), streamed(&archive, 300), &[]);
    assert!(reader.next_layer().await.unwrap().is_some());
    assert!(reader.layer().try_next().await.unwrap().is_some());
    assert_eq!(reader.next_layer().await.unwrap().unwrap().size, B.len() as u64);
    assert_eq!(reader.next_layer().await.unwrap(), None);
    assert_eq!(reader.finish().unwrap().diff_ids().len(), 2);
}

#[tokio::test]
async fn what_is_cut_damaged_or_incomplete_is_refused() {
    let config = config(&[A]);
    let name = format!("{}.json", sha256(&config).hex());
    let documents = manifest(&name, &["a/layer.tar"]);
    let whole = tar_of(&[("a/layer.tar", A), (&name, &config), ("manifest.json", &documents)]);
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    let two = manifest(&name, &["a/layer.tar", "b/layer.tar"]);
    for (archive, says) in [
        (Vec::new(), "is empty"),
        (whole[..600].to_vec(), "is cut short"),
        (whole[..1536].to_vec(), "is cut short"),
        (whole[..whole.len() - 1024].to_vec(), "is cut short"),
        (flipped, "is not a tar archive"),
        (tar_of(&[("a/layer.tar", A), (&name, &config)]), "has no manifest.json"),
        (tar_of(&[("manifest.json", &documents)]), "does not hold it"),
        (tar_of(&[("manifest.json", b"[]")]), "there is no image in it"),
        (tar_of(&[(&name, &config), ("manifest.json", &two)]), "it lists 2 layers, the image's config 1"),
        (tar_of(&[(&name, b"{}"), ("manifest.json", &documents)]), "the config sha256:"),
    ] {
        for cut in [100, 100_000] {
            let error = read(&archive, cut, &[]).await.unwrap_err().to_string();
            assert!(error.starts_with("an archive") && error.contains(says), "{says}: {error}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_fails_says_so() {
    let half = tar_of(&[("a/layer.tar", A)])[..600].to_vec();
    let broken = stream::iter([Ok(Bytes::from(half)), Err(std::io::Error::other("the wire was cut"))]).boxed();
    let mut reader = DockerStream::new("an archive".to_owned(), broken, &[]);
    reader.next_layer().await.unwrap();
    let error = reader.next_layer().await.unwrap_err();
    assert!(matches!(&error, Error::File { attempted: "reading", .. }), "{error:?}");
}
