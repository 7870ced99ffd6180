//! Byte counts for people.

use std::fmt;

/// A number of bytes, shown in decimal units as Docker shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        let (mut scaled, mut unit) = (u128::from(self.0) * 10 / 1000, 0);
        // Tenths of the unit; from 999.95 of one on it is 1.0 of the next.
        while scaled >= 10_000 && unit + 1 < UNITS.len() {
            scaled /= 1000;
            unit += 1;
        }
        write!(f, "{}.{} {}", scaled / 10, scaled % 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_dockers() {
        let shown =
            [0, 999, 1000, 1_250_000, 999_999, 1_000_000, 42_000_000_000, u64::MAX].map(|n| Bytes(n).to_string());
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.2 MB", "999.9 kB", "1.0 MB", "42.0 GB", "18.4 EB"]);
    }
}
