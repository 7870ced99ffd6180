//! Files that a user names, where `-` is standard input.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// Opens a file, or standard input for `-`.
pub(super) async fn open(file: &Path) -> io::Result<File> {
    if file == Path::new("-") { of_process(io::stdin()) } else { File::open(file).await }
}

/// Returns standard output, for what is no text.
pub(super) fn stdout() -> io::Result<File> {
    of_process(io::stdout())
}

fn of_process(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from_std(stream.as_fd().try_clone_to_owned()?.into()))
}

/// Reads a document of at most `limit` bytes.
pub(super) async fn read_small(file: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(file).await?.take(limit + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}
