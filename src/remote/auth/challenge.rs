//! What a registry says it wants: `WWW-Authenticate`.

use http_auth::ParamValue;
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// More scopes than this are not added to a request.
const MAX_SCOPES: usize = 16;

/// How a registry wants to be told who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By name and password.
    Basic,
    /// By a token of a server.
    Bearer {
        /// The server's address, not checked.
        realm: Url,
        /// What the server knows the registry by.
        service: Option<String>,
    },
}

/// Reads the challenges of an answer, and the scopes that a token needs. Tokens go before passwords.
pub(super) fn parse(headers: &HeaderMap) -> Option<(Challenge, Vec<String>)> {
    let mut basic = None;
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let challenges = http_auth::parse_challenges(header.to_str().unwrap_or_default()).unwrap_or_default();
        for challenge in challenges {
            let value = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value): &(&str, ParamValue<'_>)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some((Challenge::Basic, Vec::new()));
            }
            if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = value("realm").and_then(|realm| realm.parse().ok())
            {
                let scopes = value("scope").unwrap_or_default();
                let scopes = scopes.split(' ').filter(|scope| !scope.is_empty()).take(MAX_SCOPES).map(str::to_owned);
                return Some((Challenge::Bearer { realm, service: value("service") }, scopes.collect()));
            }
        }
    }
    basic
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&'static str]) -> Option<(Challenge, Vec<String>)> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, reqwest::header::HeaderValue::from_static(text));
        }
        parse(&headers)
    }

    #[test]
    fn a_token_server_is_named_with_what_it_is_to_be_asked() {
        let (challenge, scopes) = parsed(&[
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push repository:c:pull""#,
        ])
        .unwrap();
        let realm = "https://auth.docker.io/token".parse().unwrap();
        assert_eq!(challenge, Challenge::Bearer { realm, service: Some("registry.docker.io".to_owned()) });
        assert_eq!(scopes, ["repository:a/b:pull,push", "repository:c:pull"]);
    }

    #[test]
    fn tokens_go_before_passwords() {
        for texts in [
            &[r#"Basic realm="r", Bearer realm="https://h/t""#][..],
            &[r#"basic realm="r""#, r#"BEARER Realm="https://h/t""#],
        ] {
            assert!(matches!(parsed(texts), Some((Challenge::Bearer { service: None, .. }, _))), "{texts:?}");
        }
        assert_eq!(parsed(&[r#"Basic realm="a \"quoted\" realm""#]), Some((Challenge::Basic, Vec::new())));
    }

    #[test]
    fn what_says_nothing_is_no_challenge() {
        for text in [
            "",
            "Bearer",
            "Bearer realm=",
            r#"Bearer service="x""#,
            r#"Bearer realm="not a url""#,
            "Negotiate abc",
            "\"\"\"",
            ",,,",
        ] {
            assert_eq!(parsed(&[text]), None, "{text}");
        }
    }
}
