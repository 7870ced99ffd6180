//! The HTTP clients of one bucket: the same address and identity, different time limits.

use std::fs;
use std::time::Duration;

use hyper::Uri;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};
use object_store::{Certificate, ClientOptions, HeaderValue, RetryConfig};

use super::S3Config;
use super::environment::Settings;
use super::preflight::Observed;
use crate::backend::error::{Error, Kind};
use crate::backend::failure::{Cause, io_kind};

/// How long a TCP connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);
/// How long retries go on. Retries reuse the first signature, which the store takes for 15 minutes at most.
const RETRY: Duration = Duration::from_mins(3);
/// Resuming a body counts from the first request, so that a slow reader needs a long time here.
const RETRY_BODY: Duration = Duration::from_hours(24);

/// What a client is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// For the first request: an answer soon, or none.
    Preflight { request: Duration, retries: usize },
    /// For questions about objects.
    Meta,
    /// For reading objects, as slowly as the reader likes, as long as bytes arrive.
    Get,
    /// For sending one part of an object over a slow line, and for copies inside the store.
    Put,
}

/// Builds the clients.
pub(super) struct Clients<'a> {
    config: &'a S3Config,
    endpoint: Option<&'a str>,
    bucket: &'a str,
    options: ClientOptions,
}

impl<'a> Clients<'a> {
    pub(super) fn new(config: &'a S3Config, settings: &'a Settings, bucket: &'a str) -> Result<Self, Error> {
        let endpoint = settings.endpoint.as_deref();
        let mut options = ClientOptions::new()
            .with_user_agent(HeaderValue::from_static(concat!("oci-store/", env!("CARGO_PKG_VERSION"))))
            .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
            .with_connect_timeout(CONNECT);
        if let Some(proxy) = &config.options.proxy {
            check_proxy(proxy.reveal())?;
            options = options.with_proxy_url(proxy.reveal()).with_proxy_excludes(&settings.no_proxy);
        }
        for certificate in certificates(settings)? {
            options = options.with_root_certificate(certificate);
        }
        Ok(Self { config, endpoint, bucket, options })
    }

    /// Returns the options of a client of this pace.
    pub(super) fn options(&self, pace: &Pace) -> ClientOptions {
        let options = self.options.clone();
        match pace {
            Pace::Preflight { request, .. } => {
                options.with_timeout(*request).with_connect_timeout(CONNECT.min(*request))
            }
            Pace::Meta => options.with_timeout(Duration::from_secs(30)),
            Pace::Get => options.with_timeout_disabled().with_read_timeout(Duration::from_mins(1)),
            // The read timeout also runs while a request's body is sent: this is what one part may take.
            Pace::Put => options.with_timeout_disabled().with_read_timeout(Duration::from_mins(5)),
        }
    }

    fn retries(&self, pace: &Pace) -> RetryConfig {
        let (max_retries, retry_timeout) = match pace {
            Pace::Preflight { request, retries } => (*retries, *request),
            Pace::Get => (self.config.options.retries as usize, RETRY_BODY),
            Pace::Meta | Pace::Put => (self.config.options.retries as usize, RETRY),
        };
        RetryConfig { max_retries, retry_timeout, ..RetryConfig::default() }
    }

    /// Builds a client. Without `credentials`, requests are not signed.
    pub(super) fn build(
        &self,
        pace: Pace,
        region: &str,
        credentials: Option<&AwsCredentialProvider>,
        observed: Option<&Observed>,
    ) -> Result<AmazonS3, Error> {
        let (endpoint, virtual_hosted) = self.address();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(self.bucket)
            .with_region(region)
            .with_virtual_hosted_style_request(virtual_hosted)
            // TLS protects the body already: hashing it again would cost a core per connection.
            .with_unsigned_payload(!endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")))
            .with_client_options(self.options(&pace))
            .with_retry(self.retries(&pace));
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder = match credentials {
            Some(credentials) => builder.with_credentials(AwsCredentialProvider::clone(credentials)),
            None => builder.with_skip_signature(true),
        };
        if let Some(observed) = observed {
            builder = builder.with_http_connector(observed.clone());
        }
        self.encrypted(builder)?.build().map_err(|error| {
            Error::new(Kind::Usage, format!("cannot set up a client for bucket \"{}\"", self.bucket))
                .with_source(Cause::of(&error))
        })
    }

    /// Returns the endpoint to give to the builder, and whether it is one of the bucket alone.
    fn address(&self) -> (Option<String>, bool) {
        let Some(endpoint) = self.endpoint else {
            return (None, !self.config.path_style.unwrap_or(!is_host_label(self.bucket)));
        };
        if self.config.path_style.unwrap_or(true) {
            return (Some(endpoint.to_owned()), false);
        }
        let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
        if host.starts_with(&format!("{}.", self.bucket)) {
            return (Some(endpoint.to_owned()), true);
        }
        (Some(endpoint.replacen("://", &format!("://{}.", self.bucket), 1)), true)
    }

    fn encrypted(&self, builder: AmazonS3Builder) -> Result<AmazonS3Builder, Error> {
        let key = self.config.sse_kms_key_id.as_deref();
        let mode = self.config.sse.as_deref().or(key.map(|_| "aws:kms"));
        Ok(match (mode, key) {
            (None, _) => builder,
            (Some("aws:kms"), Some(key)) => builder.with_sse_kms_encryption(key),
            (Some("aws:kms:dsse"), Some(key)) => builder.with_dsse_kms_encryption(key),
            (Some(mode @ ("AES256" | "aws:kms" | "aws:kms:dsse")), None) => {
                let option: AmazonS3ConfigKey = "aws_server_side_encryption".parse().expect("object_store has the key");
                builder.with_config(option, mode)
            }
            (Some("AES256"), Some(_)) => {
                return Err(Error::usage("--sse AES256 uses no KMS key")
                    .with_hint("leave out --sse-kms-key-id, or pass --sse aws:kms"));
            }
            (Some(mode), _) => {
                return Err(Error::usage(format!("\"{}\" is not a way to encrypt in S3", mode.escape_debug()))
                    .with_hint("pass --sse AES256, aws:kms or aws:kms:dsse"));
            }
        })
    }
}

/// A dot would not match Amazon's certificate, and old buckets have names that no host can have.
fn is_host_label(bucket: &str) -> bool {
    bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Checks the proxy's address here, for the errors of the HTTP client would show it with its password.
fn check_proxy(proxy: &str) -> Result<(), Error> {
    let with_scheme = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let uri = with_scheme.parse::<Uri>().ok();
    let good = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if good {
        return Ok(());
    }
    Err(Error::usage("the proxy's address cannot be used").with_hint("write it as http://host:port (--proxy)"))
}

fn certificates(settings: &Settings) -> Result<Vec<Certificate>, Error> {
    let Some(file) = &settings.ca_file else { return Ok(Vec::new()) };
    let refused = |kind: Kind, problem: &str| {
        Error::new(kind, format!("CA file \"{}\" {problem}", file.display()))
            .with_hint("name a PEM file with --ca-file or AWS_CA_BUNDLE")
    };
    let pem = fs::read(file).map_err(|error| {
        // A missing file must not look like a missing bucket.
        let kind = if io_kind(error.kind()) == Kind::Denied { Kind::Denied } else { Kind::Usage };
        refused(kind, "cannot be read").with_source(error)
    })?;
    let certificates = Certificate::from_pem_bundle(&pem)
        .map_err(|error| refused(Kind::Usage, "is no PEM file").with_source(Cause::of(&error)))?;
    if certificates.is_empty() {
        return Err(refused(Kind::Usage, "holds no certificate"));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(endpoint: Option<&str>, bucket: &str, path_style: Option<bool>) -> (Option<String>, bool) {
        let config = S3Config { path_style, ..S3Config::default() };
        Clients { config: &config, endpoint, bucket, options: ClientOptions::new() }.address()
    }

    #[test]
    fn the_bucket_is_in_the_host_name_only_where_it_can_be() {
        let own = Some("http://h:9000");
        for (endpoint, bucket, path_style, expected, virtual_hosted) in [
            (None, "images", None, None, true),
            (None, "images", Some(true), None, false),
            (None, "my.images", None, None, false),
            (None, "Old_Images", None, None, false),
            (own, "images", None, own, false),
            (own, "images", Some(false), Some("http://images.h:9000"), true),
            (Some("https://images.h"), "images", Some(false), Some("https://images.h"), true),
        ] {
            let (address, host) = address(endpoint, bucket, path_style);
            assert_eq!((address.as_deref(), host), (expected, virtual_hosted), "{endpoint:?} {bucket} {path_style:?}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_not_shown() {
        for good in ["http://p:3128", "https://u:x@p", "p:3128"] {
            assert!(check_proxy(good).is_ok(), "{good}");
        }
        for bad in ["", "ftp://u:hunter2@p", "http://u:hunter2@", "http://u:hunter2@a b"] {
            let error = check_proxy(bad).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"));
        }
    }

    #[test]
    fn encryption_takes_what_s3_has() {
        let encrypted = |sse: Option<&str>, key: Option<&str>| {
            let config =
                S3Config { sse: sse.map(str::to_owned), sse_kms_key_id: key.map(str::to_owned), ..S3Config::default() };
            let clients = Clients { config: &config, endpoint: None, bucket: "b", options: ClientOptions::new() };
            clients.build(Pace::Meta, "r", None, None).map(drop)
        };
        for (sse, key) in [
            (None, None),
            (None, Some("k")),
            (Some("AES256"), None),
            (Some("aws:kms"), None),
            (Some("aws:kms"), Some("k")),
            (Some("aws:kms:dsse"), Some("k")),
        ] {
            assert!(encrypted(sse, key).is_ok(), "{sse:?} {key:?}");
        }
        assert!(encrypted(Some("AES256"), Some("k")).is_err());
        assert!(encrypted(Some("rot13"), None).is_err());
    }
}
