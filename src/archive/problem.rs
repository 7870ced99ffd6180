//! Errors of this module, made short.

use std::io;
use std::path::Path;

use storage_layout::shortened;

use crate::transfer::Error;

/// An operation on a file that failed.
pub(crate) fn file_error(attempted: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { attempted, path: path.display().to_string(), source }
}

/// The refusal of an archive that ends in the middle of an entry.
pub(super) fn too_short(label: &str) -> Error {
    Error::Invalid(format!("{label} is cut short: it has no end mark; copy or save it again"))
}

/// Text from an archive, safe to show.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

/// The names that might have been meant, some of them.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    }
}

/// Runs work that waits for disks or keeps a core busy, off the threads that drive everything else.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(file_error("waiting for a thread to read", Path::new("an archive"), error.into())),
    }
}
