//! What is where in a tar.
//!
//! Stricter than tar readers are: they hang on deep paths, skip `../x` in silence, take a tar that was cut at an entry's edge
//! for a whole one, and disagree about sizes. Here a name is only ever looked up, never walked, so a name that no image has is
//! passed over; whatever could make two readers see different entries is refused.

use std::collections::HashMap;
use std::io;

use tar::{EntryType, Header};
use tokio_util::sync::CancellationToken;

use super::content::Content;
use super::problem::quoted;

const BLOCK: u64 = 512;
const MAX_ENTRIES: u64 = 1_000_000;
/// Longer names are passed over: none that an image needs is as long.
const MAX_NAME: usize = 255;
/// The names together, in bytes: they are held in memory.
const MAX_NAMES: usize = 32 * 1024 * 1024;
/// The headers that lengthen a name or a size, in bytes.
const MAX_EXTENSION: u64 = 1024 * 1024;
/// A link to a link to a link: Docker writes one.
const MAX_LINKS: usize = 10;

/// Why a tar is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
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

#[derive(Clone, Debug)]
enum Entry {
    File { offset: u64, size: u64 },
    Link { target: String },
}

/// The files of a tar by name. Of two with one name the later counts, as when the tar is unpacked.
#[derive(Debug, Default)]
pub(super) struct TarIndex {
    entries: HashMap<String, Entry>,
}

impl TarIndex {
    /// Reads all headers.
    pub(super) fn scan(tar: &Content, stop: &CancellationToken) -> Result<Self, Refusal> {
        Scan { tar, position: 0, extensions: Extensions::default(), names: 0, index: Self::default() }.run(stop)
    }

    /// Returns offset and size of a file, links followed.
    pub(super) fn find(&self, name: &str) -> Result<Option<(u64, u64)>, Refusal> {
        let Some(mut name) = inside("", name) else {
            return Ok(None);
        };
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&name) {
                None => return Ok(None),
                Some(&Entry::File { offset, size }) => return Ok(Some((offset, size))),
                Some(Entry::Link { target }) => name.clone_from(target),
            }
        }
        Err(Refusal::Invalid(format!("holds links that lead in a circle, at {}", quoted(&name))))
    }
}

/// Returns `path`, seen from `folder`, as a plain name from the archive's root; `None` if it leads out of it or is nothing.
fn inside(folder: &str, path: &str) -> Option<String> {
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

/// What the headers before an entry say of it.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

#[derive(Debug)]
struct Scan<'a> {
    tar: &'a Content,
    position: u64,
    extensions: Extensions,
    names: usize,
    index: TarIndex,
}

impl Scan<'_> {
    fn run(mut self, stop: &CancellationToken) -> Result<TarIndex, Refusal> {
        let mut block = [0; 512];
        for _ in 0..=MAX_ENTRIES {
            if stop.is_cancelled() {
                return Err(io::Error::other("the work was given up").into());
            }
            if self.tar.size() - self.position < BLOCK {
                return Err(Refusal::Cut("it has no end mark"));
            }
            self.tar.read_exact_at(&mut block, self.position)?;
            if block.iter().all(|&byte| byte == 0) {
                return Ok(self.index);
            }
            self.entry(Header::from_byte_slice(&block))?;
        }
        Err(Refusal::Invalid(format!("has more than {MAX_ENTRIES} entries, which no image has")))
    }

    fn entry(&mut self, header: &Header) -> Result<(), Refusal> {
        check_sum(header).map_err(|()| {
            let what = if self.position == 0 { "is not a tar archive" } else { "is damaged: a header is not readable" };
            Refusal::Invalid(what.to_owned())
        })?;
        let kind = header.entry_type();
        let extends = matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        );
        let own_size =
            header.entry_size().map_err(|_| Refusal::Invalid("is damaged: an entry has no size".to_owned()))?;
        let size = if extends { own_size } else { self.extensions.size.unwrap_or(own_size) };
        let offset = self.position + BLOCK;
        let end = offset.checked_add(size).filter(|&end| end <= self.tar.size());
        let end = end.ok_or(Refusal::Cut("an entry reaches past its end"))?;
        let next = end.checked_next_multiple_of(BLOCK).filter(|&next| next <= self.tar.size());
        self.position = next.ok_or(Refusal::Cut("an entry reaches past its end"))?;
        if extends {
            return self.extension(kind, offset, size);
        }
        let extensions = std::mem::take(&mut self.extensions);
        let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = std::str::from_utf8(&path).ok().and_then(|path| inside("", path));
        let entry = match kind {
            EntryType::Regular | EntryType::Continuous if !path.ends_with(b"/") => Some(Entry::File { offset, size }),
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
            EntryType::Symlink | EntryType::Link => {
                let target = extensions.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
                let folder = if kind == EntryType::Symlink { name.as_deref().map_or("", parent) } else { "" };
                let target = target.as_deref().and_then(|target| std::str::from_utf8(target).ok());
                target.and_then(|target| inside(folder, target)).map(|target| Entry::Link { target })
            }
            // Folders, also those of very old tars, which have nothing but the slash, and devices.
            _ => None,
        };
        if let (Some(name), Some(entry)) = (name, entry) {
            self.names += name.len() + if let Entry::Link { target } = &entry { target.len() } else { 0 };
            if self.names > MAX_NAMES {
                return Err(Refusal::Invalid(format!(
                    "has more than {} MiB of names, which no image has",
                    MAX_NAMES >> 20
                )));
            }
            drop(self.index.entries.insert(name, entry));
        }
        Ok(())
    }

    fn extension(&mut self, kind: EntryType, offset: u64, size: u64) -> Result<(), Refusal> {
        if size > MAX_EXTENSION {
            return Err(Refusal::Invalid("holds a name longer than 1 MiB, which no image has".to_owned()));
        }
        let mut data = vec![0; usize::try_from(size).expect("at most 1 MiB")];
        self.tar.read_exact_at(&mut data, offset)?;
        let until_nul = |data: Vec<u8>| data.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
        match kind {
            EntryType::GNULongName => self.extensions.path = Some(until_nul(data)),
            EntryType::GNULongLink => self.extensions.link = Some(until_nul(data)),
            _ => {
                let mut rest = data.as_slice();
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
            return Err(sparse(self.extensions.path.as_deref().unwrap_or_default()));
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
            b"path" => self.extensions.path = Some(value.to_vec()),
            b"linkpath" => self.extensions.link = Some(value.to_vec()),
            _ => {
                let digits = value.iter().all(u8::is_ascii_digit);
                let size = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
                let refused =
                    || Refusal::Invalid("is damaged: an extended header holds a size that is no number".to_owned());
                self.extensions.size = Some(size.ok_or_else(refused)?);
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use std::io::Write;

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
        let end = before.len() as u64 + BLOCK + SIZE;
        file.set_len(end).unwrap();
        io::Seek::seek(&mut file, io::SeekFrom::Start(end)).unwrap();
        file.write_all(header(EntryType::Regular, "./behind", 3).as_bytes()).unwrap();
        file.set_len(end + 4 * BLOCK).unwrap();
        let index = TarIndex::scan(&Content::of_file(file).unwrap(), &CancellationToken::new()).unwrap();
        assert_eq!(index.find("behind").unwrap(), Some((end + BLOCK, 3)));
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
