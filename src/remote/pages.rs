//! Lists that come in pages: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags>.

use std::collections::{BTreeSet, HashSet};
use std::str::FromStr;

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;

use super::Error;
use super::auth::Scope;
use super::registry::{Call, RemoteRegistry};

/// More pages than this are not asked for.
const MAX_PAGES: usize = 10_000;
/// The longest page that is read, in bytes.
const MAX_PAGE: u64 = 8 * 1024 * 1024;
/// More entries than this are not kept.
const MAX_ENTRIES: usize = 1_000_000;

/// The pages of one list.
#[derive(Debug)]
pub(super) struct Pages<'a> {
    registry: &'a RemoteRegistry,
    next: Option<Next>,
    scope: Scope,
    attempted: &'a str,
    seen: HashSet<Url>,
}

#[derive(Debug)]
enum Next {
    Path(String),
    Url(Url),
}

impl<'a> Pages<'a> {
    pub(super) fn new(registry: &'a RemoteRegistry, path: String, scope: Scope, attempted: &'a str) -> Self {
        let next = Some(Next::Path(path));
        Self { registry, next, scope, attempted, seen: HashSet::new() }
    }

    /// Returns the next page, or `None` after the last one.
    pub(super) async fn next<P: DeserializeOwned>(&mut self) -> Result<Option<P>, Error> {
        let call = match self.next.take() {
            None => return Ok(None),
            Some(Next::Path(path)) => Call::new(Method::GET, path, self.scope.clone(), self.attempted),
            Some(Next::Url(url)) => Call::at(Method::GET, url, self.scope.clone(), self.attempted),
        };
        let answer = self.registry.fetch(call, MAX_PAGE).await?;
        self.next = self.following(&answer.headers, &answer.url).await?.map(Next::Url);
        self.seen.insert(answer.url);
        if self.seen.len() >= MAX_PAGES && self.next.is_some() {
            return Err(self.unexpected(format!("the list has more than {MAX_PAGES} pages")));
        }
        let page = serde_json::from_slice(&answer.body);
        page.map(Some).map_err(|error| self.unexpected(format!("the answer is no such list: {error}")))
    }

    /// Returns the address of the page after this one. It is the registry's own, and none that was there before.
    async fn following(&self, headers: &HeaderMap, here: &Url) -> Result<Option<Url>, Error> {
        let mut links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(target) = links.find_map(next_of) else { return Ok(None) };
        let url = here.join(target).map_err(|_| self.unexpected("the next page has no address".to_owned()))?;
        if !self.registry.http().is_own(&url).await {
            let problem = "the next page of a list is elsewhere".to_owned();
            return Err(self.registry.http().untrusted(self.attempted, &url, problem));
        }
        if self.seen.contains(&url) || url == *here {
            return Err(self.unexpected("the pages of the list go round in a circle".to_owned()));
        }
        Ok(Some(url))
    }

    /// Reads all pages of a list of names and returns them in byte order. What is none is left out, and the log says so.
    pub(super) async fn names<P: DeserializeOwned, T: Ord + FromStr>(
        mut self,
        of_page: impl Fn(P) -> Vec<String>,
    ) -> Result<Vec<T>, Error> {
        let mut found = BTreeSet::new();
        while let Some(page) = self.next().await? {
            for text in of_page(page) {
                if let Ok(name) = text.parse() {
                    found.insert(name);
                } else {
                    tracing::warn!("{}: the registry lists {text:?}, which is no valid name", self.attempted);
                }
            }
            self.limit(found.len())?;
        }
        Ok(found.into_iter().collect())
    }

    /// Refuses lists that are longer than any should be.
    pub(super) fn limit(&self, entries: usize) -> Result<(), Error> {
        if entries <= MAX_ENTRIES {
            return Ok(());
        }
        Err(self.unexpected(format!("the list has more than {MAX_ENTRIES} entries")))
    }

    fn unexpected(&self, problem: String) -> Error {
        Error::Unexpected { attempted: self.attempted.to_owned(), problem }
    }
}

/// Returns the target of a `Link` header's `rel="next"`: <https://www.rfc-editor.org/rfc/rfc8288#section-3>.
fn next_of(header: &str) -> Option<&str> {
    header.split('<').skip(1).find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or_default();
            key.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
        });
        is_next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, next) in [
            (r#"</v2/a/tags/list?n=1&last=b>; rel="next""#, Some("/v2/a/tags/list?n=1&last=b")),
            (r"<x>; rel=next", Some("x")),
            (r#"<x,y>; title="z"; REL="Next""#, Some("x,y")),
            (r#"<first>; rel="prev", <second>; rel="next""#, Some("second")),
            (r#"<first>; rel="prev""#, None),
            ("<unclosed; rel=next", None),
            ("", None),
            ("rel=next", None),
        ] {
            assert_eq!(next_of(header), next, "{header}");
        }
    }
}
