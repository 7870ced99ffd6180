//! The HTTP clients of one bucket: the same address and identity, different time limits.

use std::sync::Arc;

use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};

use super::S3Config;
use super::copy::{Portions, S3Copier};
use super::environment::Settings;
use crate::backend::error::{Error, Kind};
use crate::backend::failure::Cause;
use crate::backend::http::{Observed, Pace, client_options};
use crate::backend::server_copy::Sender;

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
        let options = client_options(&config.options, endpoint, &settings.no_proxy, settings.ca_file.as_deref())?;
        Ok(Self { config, endpoint, bucket, options })
    }

    /// Returns the options of a client of this pace.
    pub(super) fn options(&self, pace: &Pace) -> ClientOptions {
        pace.limit(self.options.clone())
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
            // Objects are deleted one at a time here, and not every store has the request for many.
            .with_disable_bulk_delete(true)
            .with_request_payer(self.config.requester_pays)
            .with_client_options(self.options(&pace))
            .with_retry(pace.retries(self.config.options.retries));
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

    /// Makes what copies to the bucket from others; `store` is a client for writing.
    pub(super) fn copier(&self, store: Arc<AmazonS3>) -> S3Copier {
        let config = self.config;
        S3Copier {
            store,
            sender: Sender::new(self.options(&Pace::Put), Pace::Put.retries(config.options.retries)),
            storage_class: config.storage_class.clone(),
            encryption: self.encryption().map(str::to_owned),
            kms_key: config.sse_kms_key_id.clone(),
            portions: Portions::default(),
        }
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

    /// Returns the way to encrypt, as S3 names it.
    fn encryption(&self) -> Option<&str> {
        let config = self.config;
        config.sse.as_deref().or(config.sse_kms_key_id.as_ref().map(|_| "aws:kms"))
    }

    fn encrypted(&self, builder: AmazonS3Builder) -> Result<AmazonS3Builder, Error> {
        let key = self.config.sse_kms_key_id.as_deref();
        Ok(match (self.encryption(), key) {
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
