//! What is where in a tar.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use super::content::Content;
use super::problem::quoted;
use super::tar_header::{BLOCK, Block, Entry, EntryKind, Headers, Refusal, inside, padding};

/// The names together, in bytes: they are held in memory.
const MAX_NAMES: usize = 32 * 1024 * 1024;
/// A link to a link to a link: Docker writes one.
const MAX_LINKS: usize = 10;

#[derive(Clone, Debug)]
enum Place {
    File { offset: u64, size: u64 },
    Link { target: String },
}

/// The files of a tar by name. Of two with one name the later counts, as when the tar is unpacked.
#[derive(Debug, Default)]
pub(super) struct TarIndex {
    places: HashMap<String, Place>,
    names: usize,
}

impl TarIndex {
    /// Reads all headers. A tar without its end mark was cut.
    pub(super) fn scan(tar: &Content, stop: &CancellationToken) -> Result<Self, Refusal> {
        let (mut index, mut headers, mut position) = (Self::default(), Headers::default(), 0);
        let mut block = [0; BLOCK];
        loop {
            if stop.is_cancelled() {
                return Err(std::io::Error::other("the work was given up").into());
            }
            if tar.size() - position < block.len() as u64 {
                return Err(Refusal::Cut("it has no end mark"));
            }
            tar.read_exact_at(&mut block, position)?;
            let offset = position + block.len() as u64;
            match headers.read(&block)? {
                Block::End => return Ok(index),
                Block::Extension(kind, size) => {
                    position = behind(tar, offset, size as u64)?;
                    let mut data = vec![0; size];
                    tar.read_exact_at(&mut data, offset)?;
                    headers.extend(kind, &data)?;
                }
                Block::Entry(entry) => {
                    position = behind(tar, offset, entry.size)?;
                    index.add(entry, offset)?;
                }
            }
        }
    }

    fn add(&mut self, entry: Entry, offset: u64) -> Result<(), Refusal> {
        let place = match entry.kind {
            EntryKind::File => Place::File { offset, size: entry.size },
            EntryKind::Link(target) => Place::Link { target },
            EntryKind::Other => return Ok(()),
        };
        let Some(name) = entry.name else { return Ok(()) };
        self.names += name.len() + if let Place::Link { target } = &place { target.len() } else { 0 };
        if self.names > MAX_NAMES {
            return Err(Refusal::Invalid(format!(
                "has more than {} MiB of names, which no image has",
                MAX_NAMES >> 20
            )));
        }
        drop(self.places.insert(name, place));
        Ok(())
    }

    /// Returns offset and size of a file, links followed.
    pub(super) fn find(&self, name: &str) -> Result<Option<(u64, u64)>, Refusal> {
        let Some(mut name) = inside("", name) else {
            return Ok(None);
        };
        for _ in 0..=MAX_LINKS {
            match self.places.get(&name) {
                None => return Ok(None),
                Some(&Place::File { offset, size }) => return Ok(Some((offset, size))),
                Some(Place::Link { target }) => name.clone_from(target),
            }
        }
        Err(Refusal::Invalid(format!("holds links that lead in a circle, at {}", quoted(&name))))
    }
}

/// Returns where the next header is.
fn behind(tar: &Content, offset: u64, size: u64) -> Result<u64, Refusal> {
    let end = offset.checked_add(size).and_then(|end| end.checked_add(padding(size)));
    end.filter(|&end| end <= tar.size()).ok_or(Refusal::Cut("an entry reaches past its end"))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use tar::{EntryType, Header};

    use super::*;

    fn header(kind: EntryType, name: &str, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path(name).unwrap();
        header.set_size(size);
        header.set_cksum();
        header
    }

    /// Scans a tar of a 9 GiB hole and a file behind it.
    fn scan(before: &[u8], stated: u64) -> TarIndex {
        const SIZE: u64 = 9 << 30;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(before).unwrap();
        file.write_all(header(EntryType::Regular, "large", stated).as_bytes()).unwrap();
        let end = before.len() as u64 + BLOCK as u64 + SIZE;
        file.set_len(end).unwrap();
        io::Seek::seek(&mut file, io::SeekFrom::Start(end)).unwrap();
        file.write_all(header(EntryType::Regular, "./behind", 3).as_bytes()).unwrap();
        file.set_len(end + 4 * BLOCK as u64).unwrap();
        let index = TarIndex::scan(&Content::of_file(file).unwrap(), &CancellationToken::new()).unwrap();
        assert_eq!(index.find("behind").unwrap(), Some((end + BLOCK as u64, 3)));
        assert_eq!(index.find("large").unwrap().unwrap().1, SIZE);
        index
    }

    #[test]
    fn sizes_beyond_8_gib_are_read_in_both_encodings() {
        scan(&[], 9 << 30);
        let record = b"19 size=9663676416\n";
        let mut pax = header(EntryType::XHeader, "x", record.len() as u64).as_bytes().to_vec();
        pax.extend_from_slice(record);
        pax.resize(1024, 0);
        scan(&pax, 0);
    }
}
