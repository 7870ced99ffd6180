//! Ranges of bytes: `Range` on a download, `Content-Range` on a chunk.

use std::ops::{Range, RangeInclusive};

/// What a client wants of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    Part(Range<u64>),
    /// Nothing that the blob has.
    Unsatisfiable,
}

impl Wanted {
    /// Reads a `Range` header for a blob of `size` bytes. A form that is not understood, and several ranges at once, are
    /// passed over and mean the whole, as RFC 9110 allows.
    pub(super) fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(range) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else {
            return Self::Whole;
        };
        let Some((first, last)) = range.split_once('-') else {
            return Self::Whole;
        };
        let range = match (digits(first), digits(last)) {
            (Some(first), Some(last)) => first..last.saturating_add(1).min(size),
            (Some(first), None) if last.is_empty() => first..size,
            (None, Some(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
            _ => return Self::Whole,
        };
        // Includes one that ends before it begins: RFC 9110 would have it passed over, the conformance tests want it refused.
        if range.is_empty() { Self::Unsatisfiable } else { Self::Part(range) }
    }
}

/// Reads the `Content-Range` of a chunk, `first-last`, which the specification has without a unit.
pub(super) fn parse_content_range(text: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = text.split_once('-')?;
    let range = digits(first)?..=digits(last)?;
    (!range.is_empty()).then_some(range)
}

/// Returns the `Range` of an upload of which `offset` bytes came. Nothing looks like one byte: there is no way to write it.
pub(super) fn received(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

/// Reads a number of plain digits. One that is too large is the largest there is.
pub(super) fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        use Wanted::{Part, Unsatisfiable, Whole};
        for (header, wanted) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-9", Part(0..10)),
            ("bytes=2-", Part(2..10)),
            ("bytes=5-100", Part(5..10)),
            ("bytes=5-99999999999999999999", Part(5..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-30", Part(0..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-12", Unsatisfiable),
            ("bytes=5-4", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999-", Unsatisfiable),
            ("bytes=0-1,4-5", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes 0-1", Whole),
            ("items=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(Wanted::parse(Some(header), 10), wanted, "{header:?}");
        }
        assert_eq!(Wanted::parse(None, 10), Whole);
        assert_eq!(Wanted::parse(Some("bytes=0-"), 0), Unsatisfiable);
    }

    #[test]
    fn a_chunk_has_two_plain_numbers() {
        assert_eq!(parse_content_range("0-0"), Some(0..=0));
        assert_eq!(parse_content_range("5-9"), Some(5..=9));
        for bad in ["", "-", "5", "5-", "-5", "9-5", "bytes 0-5/6", "bytes=0-5", "0-5/6", "a-b", " 0-1", "+0-1"] {
            assert_eq!(parse_content_range(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_was_received_is_counted_from_nought() {
        assert_eq!(received(0), "0-0");
        assert_eq!(received(1), "0-0");
        assert_eq!(received(100), "0-99");
    }
}
