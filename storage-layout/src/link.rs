//! `link` objects: a digest as text, nothing more.

use bytes::Bytes;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::objects::Objects;

/// Longer than any digest; a link of more is damaged.
const MAX_LINK: u64 = 1024;

/// Returns the digest that a link holds, or `None` if there is no such link.
pub(crate) async fn read(objects: &Objects, key: &Key) -> Result<Option<Digest>> {
    let path = key.path();
    let Some(bytes) = objects.read(&path, MAX_LINK).await? else {
        return Ok(None);
    };
    let damaged = |found: String| Err(Error::Corrupt { key: path.to_string(), found });
    let Some(digest) = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<Digest>().ok()) else {
        // The content is not quoted: in a folder that others write to it may be anything.
        return damaged(format!("holds {} bytes that are no digest", bytes.len()));
    };
    match key {
        // Docker's registry keeps a blob of one algorithm under another; within one there is nothing else to be named.
        Key::LayerLink(_, named) | Key::RevisionLink(_, named)
            if named.algorithm() == digest.algorithm() && *named != digest =>
        {
            damaged(format!("holds another digest, {digest}"))
        }
        _ => Ok(Some(digest)),
    }
}

/// Writes a link. Docker's registry reads it without trimming, so there is no newline.
pub(crate) async fn write(objects: &Objects, key: &Key, digest: &Digest) -> Result<()> {
    objects.write(&key.path(), Bytes::copy_from_slice(digest.as_str().as_bytes())).await
}
