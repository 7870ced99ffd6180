//! Percent-encoding, and the parameters behind a path's question mark.

/// The parameters of a request, decoded, in their order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(key), decode_form(value))
        });
        Self(pairs.collect())
    }

    /// Returns the first value of a parameter.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Returns all values of a parameter.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// Decodes a value of a form, where a plus is a space. What is no text afterwards holds a replacement character, which no
/// grammar of ours accepts.
fn decode_form(text: &str) -> String {
    String::from_utf8_lossy(&decode_bytes(&text.replace('+', " "))).into_owned()
}

/// Decodes one segment of a path, or returns `None` if it is no text.
pub(super) fn decode_segment(text: &str) -> Option<String> {
    String::from_utf8(decode_bytes(text)).ok()
}

fn decode_bytes(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let escaped = match behind {
            [high, low, ..] if first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            decoded.push(high << 4 | low);
            rest = &behind[2..];
        } else {
            decoded.push(first);
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn upper(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16").to_ascii_uppercase()
}

/// Encodes a value for a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', upper(byte >> 4), upper(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_in_order() {
        let query = Query::parse(Some("mount=sha256%3Aab&tag=1&x&tag=2%2b3&from=a/b&s=a+b&bad=%zz%"));
        assert_eq!(query.get("mount"), Some("sha256:ab"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["1", "2+3"]);
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("from"), Some("a/b"));
        assert_eq!(query.get("s"), Some("a b"));
        assert_eq!(query.get("bad"), Some("%zz%"));
        assert_eq!(query.get("none"), None);
        assert_eq!(Query::parse(None).get(""), None);
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        for text in ["", "a/b", "v1.0_x-y", "é &=%\n+"] {
            assert_eq!(decode_form(&encode(text)), text);
        }
        assert_eq!(encode("team/app"), "team%2Fapp");
        assert_eq!(decode_segment("%ff"), None);
    }
}
