//! The headers of a tar as Go's library writes them, and so oras: the same folder has the same digest whoever packs it.
//!
//! Nothing in them tells when and by whom they were written.

use crate::archive::BLOCK;

/// The field for a name, in bytes.
const NAME: usize = 100;
/// The field for the folders before a name, in bytes.
const PREFIX: usize = 155;
/// From this size on a file's does not fit into its field.
const MAX_OCTAL: u64 = 1 << 33;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A file of so many bytes.
    File(u64),
    Folder,
    /// A symbolic link, and where it points.
    Link(&'a str),
}

/// Returns the header of an entry, and before it what does not fit in there.
pub(super) fn headers(name: &str, kind: Kind<'_>, mode: u32) -> Vec<u8> {
    let (flag, size, link) = match kind {
        Kind::File(size) => (b'0', size, ""),
        Kind::Folder => (b'5', 0, ""),
        Kind::Link(target) => (b'2', 0, target),
    };
    let fits = |text: &str| text.is_ascii() && text.len() <= NAME;
    if fits(link) && size < MAX_OCTAL {
        if fits(name) {
            return Header { flag, prefix: "", name, link, mode, size }.to_block();
        }
        if let Some((prefix, name)) = split(name) {
            return Header { flag, prefix, name, link, mode, size }.to_block();
        }
    }
    let mut records = String::new();
    if !fits(link) {
        records.push_str(&record("linkpath", link));
    }
    if !fits(name) {
        records.push_str(&record("path", name));
    }
    if size >= MAX_OCTAL {
        records.push_str(&record("size", &size.to_string()));
    }
    let (folder, own) =
        name.rsplit_once('/').map_or((String::new(), name), |(folder, own)| (format!("{folder}/"), own));
    let extension = ascii(&format!("{folder}PaxHeaders.0/{own}"));
    let extension = extension[..extension.len().min(NAME)].trim_end_matches('/');
    let of_records = Header { flag: b'x', prefix: "", name: extension, link: "", mode: 0, size: records.len() as u64 };
    let mut bytes = of_records.to_block();
    bytes.extend_from_slice(records.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    let (name, link, size) = (ascii(name), ascii(link), if size < MAX_OCTAL { size } else { 0 });
    bytes.extend(Header { flag, prefix: "", name: &name, link: &link, mode, size }.to_block());
    bytes
}

struct Header<'a> {
    flag: u8,
    prefix: &'a str,
    name: &'a str,
    link: &'a str,
    mode: u32,
    size: u64,
}

impl Header<'_> {
    fn to_block(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        put(&mut block[..NAME], self.name);
        put(&mut block[100..108], &format!("{:07o}", self.mode));
        put(&mut block[108..116], "0000000");
        put(&mut block[116..124], "0000000");
        put(&mut block[124..136], &format!("{:011o}", self.size));
        put(&mut block[136..148], "00000000000");
        block[156] = self.flag;
        put(&mut block[157..257], self.link);
        put(&mut block[257..265], "ustar\x0000");
        // What an extension header's fields for devices hold is nothing.
        if self.flag != b'x' {
            put(&mut block[329..337], "0000000");
            put(&mut block[337..345], "0000000");
        }
        put(&mut block[345..345 + PREFIX], self.prefix);
        // The sum counts its own field as spaces.
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
        put(&mut block[148..156], &format!("{sum:06o}\0 "));
        block
    }
}

/// Writes as much as fits. A name that is cut must not end in a slash: some readers would take it for a folder's.
fn put(field: &mut [u8], text: &str) {
    let count = text.len().min(field.len());
    field[..count].copy_from_slice(&text.as_bytes()[..count]);
    if text.len() > field.len() && field.ends_with(b"/") {
        let end = text[..count - 1].trim_end_matches('/').len();
        field[end] = 0;
    }
}

fn ascii(text: &str) -> String {
    text.chars().filter(char::is_ascii).collect()
}

/// Splits a long name into two that fit, at its last slash that allows it.
fn split(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() || name.len() <= NAME {
        return None;
    }
    let at = name[..name.len().min(PREFIX + 1)].rfind('/')?;
    let (prefix, rest) = (&name[..at], &name[at + 1..]);
    (!prefix.is_empty() && !rest.is_empty() && rest.len() <= NAME).then_some((prefix, rest))
}

/// `<length> <key>=<value>\n`, where the length counts everything, itself too.
fn record(key: &str, value: &str) -> String {
    let others = key.len() + value.len() + 3;
    let mut length = others + others.to_string().len();
    if others + length.to_string().len() != length {
        length = others + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go 1.26 writes, as sha256 of the headers; see `tests/it/artifact` for whole folders.
    #[test]
    fn names_sizes_and_links_of_any_length_are_read_back() {
        let (long, split_name) = ("n".repeat(150), format!("{}/{}", "d".repeat(120), "n".repeat(90)));
        let names = ["a", "a/ä.txt", &long, &split_name, &format!("{}/x", "d".repeat(99))];
        for name in names {
            for (kind, mode) in [
                (Kind::File(7), 0o640),
                (Kind::File(9 << 30), 0o755),
                (Kind::Folder, 0o755),
                (Kind::Link("../ü"), 0o777),
            ] {
                let bytes = headers(name, kind, mode);
                let mut archive = tar::Archive::new(bytes.as_slice());
                let entry = archive.entries().unwrap().next().unwrap().unwrap();
                assert_eq!(entry.path_bytes().as_ref(), name.as_bytes());
                assert_eq!(entry.header().mode().unwrap(), mode);
                match kind {
                    Kind::File(size) => assert_eq!(entry.size(), size),
                    Kind::Folder => assert_eq!(entry.header().entry_type(), tar::EntryType::Directory),
                    Kind::Link(target) => assert_eq!(entry.link_name_bytes().unwrap().as_ref(), target.as_bytes()),
                }
            }
        }
        assert_eq!(
            headers(&split_name, Kind::Folder, 0o755).len(),
            BLOCK,
            "a name that can be split needs no extension"
        );
    }

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(record("path", "ab"), "11 path=ab\n");
        for length in 80..120 {
            let record = record("path", &"x".repeat(length));
            assert!(record.starts_with(&format!("{} ", record.len())));
        }
    }
}
