//! What the headers of a tar say, one after the other.
//!
//! Stricter than tar readers are: they hang on deep paths, skip `../x` in silence and disagree about sizes. Here a name is only
//! ever looked up, never walked, so a name that no image has is passed over; whatever could make two readers see different
//! entries is refused.

use std::borrow::Cow;
use std::io;

use tar::{EntryType, Header};

use super::problem::quoted;

/// The length of a header, and what every entry is padded to, in bytes.
pub(crate) const BLOCK: usize = 512;
/// Longer names are passed over: none that an image needs is as long.
const MAX_NAME: usize = 255;
/// The headers that lengthen a name or a size, in bytes.
const MAX_EXTENSION: u64 = 1024 * 1024;
/// More entries than this are not read.
const MAX_ENTRIES: u64 = 1_000_000;

/// Why a tar is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// It cannot be read at all.
    #[error("reading")]
    Io(#[from] io::Error),
    /// It ends too early.
    #[error("is cut short: {0}; copy or save it again")]
    Cut(&'static str),
    /// It holds what no image archive holds.
    #[error("{0}")]
    Invalid(String),
}

/// What follows a header.
#[derive(Debug)]
pub(crate) enum Block {
    /// Nothing: the tar ends.
    End,
    /// So many bytes that say more of the next entry, to be given to [`Headers::extend`].
    Extension(EntryType, usize),
    /// An entry and its bytes.
    Entry(Entry),
}

/// An entry of a tar.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name, seen from the root of the archive. `None` for one that no image has.
    pub(super) name: Option<String>,
    /// How many bytes follow, without the padding.
    pub(crate) size: u64,
    pub(super) kind: EntryKind,
    /// What the headers say, as they say it: for those who unpack.
    pub(crate) raw: RawEntry,
}

/// An entry whose names mean nothing yet.
#[derive(Debug)]
pub(crate) struct RawEntry {
    pub(crate) kind: EntryType,
    pub(crate) path: Vec<u8>,
    /// Where a link points.
    pub(crate) link: Option<Vec<u8>>,
    /// Its mode, with the bits that are no permissions; `None` where nothing readable is said.
    pub(crate) mode: Option<u32>,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum EntryKind {
    File,
    /// Another name for the file of that name.
    Link(String),
    /// A folder or a device; or a link that leads nowhere in the archive.
    Other,
}

/// Reads the headers of one tar in their order.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    count: u64,
}

impl Headers {
    /// Reads the next header.
    pub(crate) fn read(&mut self, block: &[u8; BLOCK]) -> Result<Block, Refusal> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(Block::End);
        }
        let is_first = self.count == 0;
        self.count += 1;
        if self.count > MAX_ENTRIES {
            return Err(Refusal::Invalid(format!("has more than {MAX_ENTRIES} entries, which no image has")));
        }
        let header = Header::from_byte_slice(block);
        check_sum(header).map_err(|()| {
            let what = if is_first { "is not a tar archive" } else { "is damaged: a header is not readable" };
            Refusal::Invalid(what.to_owned())
        })?;
        let kind = header.entry_type();
        let size = header.entry_size().map_err(|_| Refusal::Invalid("is damaged: an entry has no size".to_owned()))?;
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader => {
                let length = usize::try_from(size).ok().filter(|_| size <= MAX_EXTENSION);
                let too_long = || Refusal::Invalid("holds a name longer than 1 MiB, which no image has".to_owned());
                Ok(Block::Extension(kind, length.ok_or_else(too_long)?))
            }
            _ => self.entry(header, size).map(Block::Entry),
        }
    }

    fn entry(&mut self, header: &Header, own_size: u64) -> Result<Entry, Refusal> {
        let Self { path, link, size, .. } = std::mem::replace(self, Self { count: self.count, ..Self::default() });
        let size = size.unwrap_or(own_size);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = std::str::from_utf8(&path).ok().and_then(|path| inside("", path));
        let link = link.or_else(|| header.link_name_bytes().map(Cow::into_owned));
        let mode = header.mode().ok();
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if !path.ends_with(b"/") => EntryKind::File,
            EntryType::GNUSparse => return Err(sparse(&path)),
            EntryType::Symlink
            | EntryType::Link
            | EntryType::Directory
            | EntryType::Char
            | EntryType::Block
            | EntryType::Fifo
                if size != 0 =>
            {
                // Some readers skip so many bytes, some do not, and then see other entries.
                let path = quoted(&String::from_utf8_lossy(&path));
                return Err(Refusal::Invalid(format!("is damaged: {path} is no file and yet has a size")));
            }
            kind @ (EntryType::Symlink | EntryType::Link) => {
                let folder = if kind == EntryType::Symlink { name.as_deref().map_or("", parent) } else { "" };
                let target = link.as_deref().and_then(|target| std::str::from_utf8(target).ok());
                target.and_then(|target| inside(folder, target)).map_or(EntryKind::Other, EntryKind::Link)
            }
            // Folders, also those of very old tars, which have nothing but the slash, and devices.
            _ => EntryKind::Other,
        };
        Ok(Entry { name, size, kind, raw: RawEntry { kind: header.entry_type(), path, link, mode } })
    }

    /// Takes in the bytes of an extension.
    pub(crate) fn extend(&mut self, kind: EntryType, data: &[u8]) -> Result<(), Refusal> {
        let until_nul = || data.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
        match kind {
            EntryType::GNULongName => self.path = Some(until_nul()),
            EntryType::GNULongLink => self.link = Some(until_nul()),
            _ => {
                let mut rest = data;
                while !rest.is_empty() {
                    let malformed = || Refusal::Invalid("is damaged: an extended header is malformed".to_owned());
                    let (key, value, after) = pax_record(rest).ok_or_else(malformed)?;
                    rest = after;
                    self.pax(kind, key, value)?;
                }
            }
        }
        Ok(())
    }

    fn pax(&mut self, kind: EntryType, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if key.starts_with(b"GNU.sparse.") {
            return Err(sparse(self.path.as_deref().unwrap_or_default()));
        }
        if !matches!(key, b"path" | b"linkpath" | b"size") {
            return Ok(());
        }
        if kind == EntryType::XGlobalHeader {
            return Err(Refusal::Invalid(
                "gives all its entries one name or size, which no image archive does".to_owned(),
            ));
        }
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            _ => {
                let digits = value.iter().all(u8::is_ascii_digit);
                let size = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
                let refused =
                    || Refusal::Invalid("is damaged: an extended header holds a size that is no number".to_owned());
                self.size = Some(size.ok_or_else(refused)?);
            }
        }
        Ok(())
    }
}

/// Returns how many bytes follow an entry of that size before the next header.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn sparse(path: &[u8]) -> Refusal {
    let path = quoted(&String::from_utf8_lossy(path));
    Refusal::Invalid(format!("holds the sparse file {path}, which no image archive does; make it without --sparse"))
}

fn check_sum(header: &Header) -> Result<(), ()> {
    let bytes = header.as_bytes();
    // The sum counts its own field as spaces.
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    if header.cksum().is_ok_and(|stated| stated == sum) { Ok(()) } else { Err(()) }
}

/// Splits `<length> <key>=<value>\n` off; the length counts everything, itself too.
fn pax_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &data[length..]))
}

/// Returns `path`, seen from `folder`, as a plain name from the archive's root; `None` if it leads out of it or is nothing.
pub(super) fn inside(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    let name = parts.join("/");
    (!name.is_empty() && name.len() <= MAX_NAME).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for (folder, path, name) in [
            ("", "./a//b/", Some("a/b")),
            ("a/b", "../c", Some("a/c")),
            ("a", "../../c", None),
            ("", "/a", None),
            ("", ".", None),
            ("", "a\0", None),
        ] {
            assert_eq!(inside(folder, path).as_deref(), name);
        }
        assert_eq!(inside("", &"a".repeat(256)), None);
    }

    #[test]
    fn extended_records_must_be_as_long_as_they_say() {
        assert_eq!(pax_record(b"9 a=b=\n\n\nx"), Some((&b"a"[..], &b"b=\n\n"[..], &b"x"[..])));
        for bad in [&b"8 a=b"[..], b"6 a=b", b"6 ab\n", b"-6 a=\n", b"2 a=b\n", b"99 a=b\n", b" a=b\n"] {
            assert_eq!(pax_record(bad), None);
        }
    }
}
