//! Amazon's library, which reads its configuration files and speaks with its login services.

use std::fs;
use std::path::Path;

use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_types::service_config::ServiceConfigKey;

use super::DEFAULT_REGION;
use super::environment::Settings;
use crate::backend::Secret;
use crate::backend::error::{Error, Kind};
use crate::backend::failure::joined;

/// Begins to load the configuration of a profile; of the one in use if none is named. A region is given, for else the
/// machine's metadata service would be asked for it.
pub(super) fn loader(profile: Option<&str>, region: &str) -> ConfigLoader {
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.to_owned()));
    match profile {
        Some(profile) => loader.profile_name(profile),
        None => loader,
    }
}

/// Returns the address that a profile has for S3, in its section `services` or by `endpoint_url`.
pub(super) async fn endpoint(profile: Option<&str>) -> Option<String> {
    let config = Box::pin(loader(profile, DEFAULT_REGION).no_credentials().load()).await;
    let key = ServiceConfigKey::builder().service_id("S3").profile("endpoint_url").env("AWS_ENDPOINT_URL").build();
    let of_s3 = config.service_config().and_then(|services| services.load_config(key.ok()?));
    of_s3.or_else(|| config.endpoint_url().map(str::to_owned)).filter(|endpoint| !endpoint.is_empty())
}

/// Has the login services asked as the store is: by the same proxy, with the same certificates.
pub(super) fn with_client(
    loader: ConfigLoader,
    settings: &Settings,
    proxy: Option<&Secret>,
) -> Result<ConfigLoader, Error> {
    if proxy.is_none() && settings.ca_file.is_none() {
        return Ok(loader);
    }
    let refused = |error: &(dyn std::error::Error + 'static)| {
        Error::new(Kind::Other, "cannot set up an HTTP client for the login").with_source(joined(error))
    };
    let tls = TlsContext::builder().with_trust_store(trust(settings.ca_file.as_deref())?).build();
    let tls = tls.map_err(|error| refused(&error))?;
    // The address is checked with the store's own client, whose error does not show it.
    let proxy = proxy.map(|proxy| ProxyConfig::all(with_scheme(proxy.reveal())));
    let proxy = proxy.transpose().map_err(|_| Error::usage("the proxy's address cannot be used"))?;
    let proxy = proxy.map_or_else(ProxyConfig::from_env, |proxy| proxy.no_proxy(&settings.no_proxy));
    let client = Builder::new().build_with_connector_fn(move |timeouts, components| {
        let mut builder = Connector::builder().proxy_config(proxy.clone());
        builder.set_connector_settings(timeouts.cloned());
        if let Some(components) = components {
            builder.set_sleep_impl(components.sleep_impl());
        }
        builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls.clone()).build()
    });
    Ok(loader.http_client(client))
}

fn with_scheme(proxy: &str) -> String {
    if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") }
}

/// Returns the system's certificates and those of the file, which is checked with the store's own client.
fn trust(file: Option<&Path>) -> Result<TrustStore, Error> {
    let store = TrustStore::empty().with_native_roots(true);
    let Some(file) = file else { return Ok(store) };
    let pem = fs::read(file)
        .map_err(|error| Error::usage(format!("CA file \"{}\" cannot be read", file.display())).with_source(error))?;
    Ok(store.with_pem_certificate(pem))
}
