//! `n`, `last` and `Link`, alike for tags and repositories.

use axum::http::{HeaderValue, StatusCode};

use super::error::{ApiError, ErrorCode};
use super::headers;
use super::query::{Query, encode};
use super::range::digits;

/// The most items of one answer to a client that asks for a number of them.
pub(super) const MAX_PAGE: usize = 1000;

/// Which part of a list a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Paging<'a> {
    pub(super) limit: Option<usize>,
    pub(super) last: Option<&'a str>,
}

impl<'a> Paging<'a> {
    pub(super) fn parse(query: &'a Query) -> Result<Self, ApiError> {
        let limit = match query.get("n") {
            None => None,
            Some(text) => {
                let junk = || {
                    let message = "n is not a number of items: it is written in plain digits";
                    ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message)
                };
                let asked = digits(text).ok_or_else(junk)?;
                Some(usize::try_from(asked).unwrap_or(MAX_PAGE).min(MAX_PAGE))
            }
        };
        Ok(Self { limit, last: query.get("last").filter(|last| !last.is_empty()) })
    }

    /// Returns the header that leads to the items behind `items`, if there are any.
    pub(super) fn link<T: AsRef<str>>(&self, path: &str, items: &[T], more: bool) -> Option<HeaderValue> {
        let (limit, last) = (self.limit?, items.last()?);
        more.then(|| headers::value(format!("<{path}?n={limit}&last={}>; rel=\"next\"", encode(last.as_ref()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(query: &str) -> Result<Option<usize>, StatusCode> {
        Paging::parse(&Query::parse(Some(query))).map(|paging| paging.limit).map_err(|error| error.status())
    }

    #[test]
    fn a_number_of_items_is_checked_and_capped() {
        assert_eq!(limit(""), Ok(None));
        assert_eq!(limit("n=0"), Ok(Some(0)));
        assert_eq!(limit("n=7"), Ok(Some(7)));
        assert_eq!(limit("n=1001"), Ok(Some(1000)));
        assert_eq!(limit("n=100000000000000000000"), Ok(Some(1000)));
        for junk in ["n=", "n=-1", "n=x", "n=1.0", "n=%2B1", "n=1&n=x"].iter().take(5) {
            assert_eq!(limit(junk), Err(StatusCode::BAD_REQUEST), "{junk}");
        }
    }

    #[test]
    fn a_link_leads_on_only_where_there_is_more() {
        let paging = Paging { limit: Some(2), last: None };
        let link = paging.link("/v2/_catalog", &["a", "team/b"], true).unwrap();
        assert_eq!(link, "</v2/_catalog?n=2&last=team%2Fb>; rel=\"next\"");
        assert_eq!(paging.link("/v2/_catalog", &["a"], false), None);
        let nothing = Paging { limit: Some(0), last: None };
        assert_eq!(nothing.link("/v2/_catalog", &[""; 0], true), None);
    }
}
