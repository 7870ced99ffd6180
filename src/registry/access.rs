//! Who may ask, and for what.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use storage_layout::RepositoryName;

use super::error::{ApiError, ErrorCode};
use super::headers;
use super::route::Route;
use super::token::Token;

/// Who may ask a registry, and for what.
#[derive(Clone, Debug)]
pub struct Access {
    /// What a client has to show, if anything.
    pub token: Option<Token>,
    /// The port that the registry is reached at. A web page that was led here under another name is turned away by it.
    pub port: u16,
    /// The only repository that may be asked for, if there is but one.
    pub repository: Option<RepositoryName>,
    /// Whether nothing may be written.
    pub read_only: bool,
}

impl Access {
    /// Lets a request pass or says why not. Every request of every method comes through here before anything else is done
    /// with it, and what its path is worth is told only to those who may know.
    pub(super) fn check(&self, parts: &Parts, route: Result<Route, ApiError>) -> Result<Route, ApiError> {
        self.check_browser(parts)?;
        self.check_token(&parts.headers)?;
        let route = route?;
        self.check_repository(&route)?;
        if self.read_only && !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(not_allowed("this registry is read-only", "GET, HEAD"));
        }
        Ok(route)
    }

    /// Browsers reach loopback ports from any page. What they cannot do is leave these headers out or name us rightly.
    fn check_browser(&self, parts: &Parts) -> Result<(), ApiError> {
        let denied = |message: String| Err(ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message));
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let host = hosts.next().map(HeaderValue::as_bytes).unwrap_or_default();
        let target = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        if hosts.next().is_some() || !self.is_own_host(host) || target.is_some_and(|target| !self.is_own_host(target)) {
            return denied(format!("this registry answers to the name 127.0.0.1:{} only", self.port));
        }
        if parts.headers.contains_key(header::ORIGIN) || parts.headers.contains_key(headers::SEC_FETCH_SITE) {
            return denied("this registry does not answer to web pages".to_owned());
        }
        Ok(())
    }

    fn is_own_host(&self, host: &[u8]) -> bool {
        let names = ["127.0.0.1", "localhost", "[::1]"];
        names.iter().any(|name| host.eq_ignore_ascii_case(format!("{name}:{}", self.port).as_bytes()))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let (message, shown) = match headers.get(header::AUTHORIZATION) {
            None => ("this registry wants the password that oci-store made for this run", false),
            Some(value) => {
                ("the password is not the one of this run of oci-store", token.is_shown_by(value.as_bytes()))
            }
        };
        if shown {
            return Ok(());
        }
        Err(ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"oci-store\"")))
    }

    fn check_repository(&self, route: &Route) -> Result<(), ApiError> {
        let Some(only) = &self.repository else {
            return Ok(());
        };
        match route {
            Route::Base => Ok(()),
            route if route.repository() == Some(only) => Ok(()),
            _ => {
                let message = format!("this run of oci-store serves the repository {only} and nothing else");
                Err(ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message))
            }
        }
    }
}

/// Says that a path does not know a method.
pub(super) fn not_allowed(message: impl Into<String>, methods: &'static str) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message)
        .with_header(header::ALLOW, HeaderValue::from_static(methods))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use base64::Engine as _;

    use super::*;

    const METHODS: [Method; 7] =
        [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

    fn open() -> Access {
        Access { token: None, port: 5000, repository: None, read_only: false }
    }

    fn ask(access: &Access, method: &Method, path: &str, headers: &[(&str, &str)]) -> Result<Route, StatusCode> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:5000");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        access.check(&parts, Route::parse(parts.uri.path())).map_err(|error| error.status())
    }

    #[test]
    fn it_answers_to_its_own_names_only() {
        for good in ["127.0.0.1:5000", "localhost:5000", "LocalHost:5000", "[::1]:5000"] {
            assert_eq!(ask(&open(), &Method::GET, "/v2/", &[("host", good)]), Ok(Route::Base), "{good}");
        }
        for bad in ["", "127.0.0.1", "127.0.0.1:5001", "evil.example.com:5000", "127.0.0.1:5000.evil.com", "::1:5000"] {
            for method in METHODS {
                let answer = ask(&open(), &method, "/v2/", &[("host", bad)]);
                assert_eq!(answer, Err(StatusCode::FORBIDDEN), "{method} {bad:?}");
            }
        }
        let twice = [("host", "127.0.0.1:5000"), ("host", "evil.example.com")];
        assert_eq!(ask(&open(), &Method::GET, "/v2/", &twice), Err(StatusCode::FORBIDDEN));
        assert_eq!(ask(&open(), &Method::GET, "http://evil.example.com/v2/", &[]), Err(StatusCode::FORBIDDEN));
    }

    #[test]
    fn it_does_not_answer_to_web_pages() {
        for header in [("origin", "http://127.0.0.1:5000"), ("origin", "null"), ("sec-fetch-site", "same-origin")] {
            for method in METHODS {
                let answer = ask(&open(), &method, "/v2/app/blobs/uploads/", &[header]);
                assert_eq!(answer, Err(StatusCode::FORBIDDEN), "{method} {header:?}");
            }
        }
    }

    #[test]
    fn without_the_token_not_even_a_path_is_judged() {
        let token = Token::generate();
        let shown = base64::prelude::BASE64_STANDARD.encode(format!("oci-store:{}", token.password()));
        let access = Access { token: Some(token), ..open() };
        for method in METHODS {
            for path in ["/v2/", "/v2/app/tags/list", "/nowhere", "/v2/A/tags/list"] {
                assert_eq!(ask(&access, &method, path, &[]), Err(StatusCode::UNAUTHORIZED), "{method} {path}");
                let wrong = [("authorization", "Basic b2NpLXN0b3JlOng=")];
                assert_eq!(ask(&access, &method, path, &wrong), Err(StatusCode::UNAUTHORIZED), "{method} {path}");
            }
        }
        let authorization = format!("Basic {shown}");
        assert_eq!(ask(&access, &Method::GET, "/v2/", &[("authorization", &authorization)]), Ok(Route::Base));
    }

    #[test]
    fn one_repository_means_one() {
        let access = Access { repository: Some("team/app".parse().unwrap()), ..open() };
        assert!(ask(&access, &Method::PUT, "/v2/team/app/manifests/v1", &[]).is_ok());
        assert!(ask(&access, &Method::GET, "/v2/", &[]).is_ok());
        for path in ["/v2/team/manifests/v1", "/v2/team/app/x/manifests/v1", "/v2/other/tags/list", "/v2/_catalog"] {
            for method in METHODS {
                assert_eq!(ask(&access, &method, path, &[]), Err(StatusCode::FORBIDDEN), "{method} {path}");
            }
        }
    }

    #[test]
    fn read_only_means_no_method_that_writes() {
        let access = Access { read_only: true, ..open() };
        for method in METHODS {
            for path in ["/v2/app/manifests/v1", "/v2/app/blobs/uploads/", "/v2/app/tags/list"] {
                let reads = matches!(method, Method::GET | Method::HEAD);
                assert_eq!(ask(&access, &method, path, &[]).is_ok(), reads, "{method} {path}");
            }
        }
    }
}
