//! What S3 is told by the environment, where the configuration says nothing.

use std::fmt;
use std::path::PathBuf;

use object_store::aws::AwsCredential;

use super::S3Config;
use crate::backend::Secret;
use crate::backend::answer::printable;
use crate::backend::error::Error;
use crate::backend::http::{self, BadEndpoint, no_proxy};

/// The configuration with its gaps filled from the environment.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::backend) struct Settings {
    /// The store's URL, without a slash at its end; Amazon's own if absent.
    pub(super) endpoint: Option<String>,
    /// Whether that is what a profile says.
    pub(super) endpoint_of_profile: bool,
    pub(super) region: Option<String>,
    pub(super) identity: Identity,
    pub(super) ca_file: Option<PathBuf>,
    /// Hosts that are reached without the proxy, as `NO_PROXY` has them.
    pub(super) no_proxy: String,
    /// Whether the user forbade asking the machine's metadata service.
    pub(super) metadata_disabled: bool,
}

/// As whom requests are sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// As nobody.
    Anonymous,
    /// With a key from the flags or the environment.
    Keys(Keys),
    /// As whom Amazon's own tools would: profiles, SSO, roles, containers, machines.
    Chain { profile: Option<String> },
}

/// A key that was given as such.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys {
    /// Where the access key was given.
    origin: &'static str,
    access_key: String,
    secret_key: Secret,
    session_token: Option<Secret>,
}

impl Keys {
    pub(super) fn to_aws(&self) -> AwsCredential {
        AwsCredential {
            key_id: self.access_key.clone(),
            secret_key: self.secret_key.reveal().to_owned(),
            token: self.session_token.as_ref().map(|token| token.reveal().to_owned()),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let temporary = if self.session_token.is_some() { ", with a session token" } else { "" };
        write!(f, "access key {} from {}{temporary}", printable(&self.access_key), self.origin)
    }
}

impl Settings {
    /// Fills the gaps of `config`. `env` looks up a variable; an empty one counts as absent.
    pub(super) fn resolve(config: &S3Config, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let is_true = |name: &str| env(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let configured = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());

        let mut endpoint = configured(&config.endpoint);
        if endpoint.is_none() && !is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
            endpoint = env("AWS_ENDPOINT_URL_S3").or_else(|| env("AWS_ENDPOINT_URL"));
        }
        Ok(Self {
            endpoint: endpoint.map(|endpoint| check_endpoint(&endpoint)).transpose()?,
            endpoint_of_profile: false,
            region: configured(&config.region).or_else(|| env("AWS_REGION")).or_else(|| env("AWS_DEFAULT_REGION")),
            identity: identity(config, &env)?,
            ca_file: config.options.ca_file.clone().or_else(|| env("AWS_CA_BUNDLE").map(PathBuf::from)),
            no_proxy: no_proxy(&env, "169.254.169.254,169.254.170.2,169.254.170.23"),
            metadata_disabled: is_true("AWS_EC2_METADATA_DISABLED"),
        })
    }
}

fn identity(config: &S3Config, env: &dyn Fn(&str) -> Option<String>) -> Result<Identity, Error> {
    if config.no_sign_request {
        return Ok(Identity::Anonymous);
    }
    let given = config.access_key.is_some() || config.secret_key.is_some();
    // A profile that was asked for by name wins over keys that happen to be in the environment, as in Amazon's own tools.
    let ambient = given || config.profile.is_none();
    let env = |name: &str| if ambient { env(name) } else { None };

    let access_key = config.access_key.clone().or_else(|| env("AWS_ACCESS_KEY_ID"));
    let secret_key = config.secret_key.clone().or_else(|| env("AWS_SECRET_ACCESS_KEY").map(Secret::from));
    // A token belongs to one key: the environment's is of no use with another.
    let session_token = config
        .session_token
        .clone()
        .or_else(|| if config.access_key.is_none() { env("AWS_SESSION_TOKEN").map(Secret::from) } else { None });
    match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => {
            let origin = if config.access_key.is_some() { "--access-key" } else { "AWS_ACCESS_KEY_ID" };
            Ok(Identity::Keys(Keys { origin, access_key, secret_key, session_token }))
        }
        (None, None) => {
            // Without a name the chain looks at AWS_PROFILE itself; it is kept here to be named in errors.
            Ok(Identity::Chain { profile: config.profile.clone().or_else(|| env("AWS_PROFILE")) })
        }
        (Some(_), None) => Err(Error::usage("an S3 access key is given without its secret key")
            .with_hint("set AWS_SECRET_ACCESS_KEY, or pass --secret-key")),
        (None, Some(_)) => Err(Error::usage("an S3 secret key is given without its access key")
            .with_hint("set AWS_ACCESS_KEY_ID, or pass --access-key")),
    }
}

pub(super) fn check_endpoint(endpoint: &str) -> Result<String, Error> {
    http::check_endpoint(endpoint).map_err(|bad| match bad {
        BadEndpoint::Secret => Error::usage("the S3 endpoint holds a user name or password, which S3 does not use")
            .with_hint("pass --endpoint without it, and the key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        BadEndpoint::Malformed => Error::usage(format!("\"{}\" cannot be an S3 endpoint", endpoint.escape_debug()))
            .with_hint("write it as https://host or http://host:port (--endpoint, AWS_ENDPOINT_URL_S3)"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Kind;

    fn resolve(config: &S3Config, env: &[(&str, &str)]) -> Result<Settings, Error> {
        let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::resolve(config, &lookup)
    }

    #[test]
    fn the_configuration_wins_and_the_more_specific_variable_is_next() {
        let flag =
            S3Config { region: Some("flag".into()), endpoint: Some("http://flag/".into()), ..S3Config::default() };
        let none = S3Config::default();
        let all = [
            ("AWS_REGION", "region"),
            ("AWS_DEFAULT_REGION", "default"),
            ("AWS_ENDPOINT_URL_S3", "http://s3"),
            ("AWS_ENDPOINT_URL", "http://all"),
        ];
        let cases: [(&S3Config, &[_], _, _); 7] = [
            (&flag, &all, Some("flag"), Some("http://flag")),
            (&none, &all, Some("region"), Some("http://s3")),
            (&none, &[all[1], all[3]], Some("default"), Some("http://all")),
            (&none, &[("AWS_REGION", ""), all[1]], Some("default"), None),
            (&none, &[all[2], ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")], None, None),
            (&flag, &[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")], Some("flag"), Some("http://flag")),
            (&none, &[], None, None),
        ];
        for (config, env, region, endpoint) in cases {
            let settings = resolve(config, env).unwrap();
            assert_eq!(settings.region.as_deref(), region, "{env:?}");
            assert_eq!(settings.endpoint.as_deref(), endpoint, "{env:?}");
        }
    }

    #[test]
    fn keys_come_from_one_place() {
        let keys = |access_key: &str, secret_key: &str, token: Option<&str>| {
            Identity::Keys(Keys {
                origin: if access_key == "flag" { "--access-key" } else { "AWS_ACCESS_KEY_ID" },
                access_key: access_key.to_owned(),
                secret_key: secret_key.into(),
                session_token: token.map(Secret::from),
            })
        };
        let none = S3Config::default();
        let flags = S3Config { access_key: Some("flag".into()), secret_key: Some("fs".into()), ..S3Config::default() };
        let half = S3Config { access_key: Some("flag".into()), ..S3Config::default() };
        let profile = S3Config { profile: Some("p".into()), ..S3Config::default() };
        let both = S3Config { profile: Some("p".into()), ..flags.clone() };
        let anonymous = S3Config { no_sign_request: true, ..flags.clone() };
        let env = [
            ("AWS_ACCESS_KEY_ID", "env"),
            ("AWS_SECRET_ACCESS_KEY", "es"),
            ("AWS_SESSION_TOKEN", "et"),
            ("AWS_PROFILE", "ep"),
        ];
        let cases: [(&S3Config, &[_], _); 10] = [
            (&none, &env, keys("env", "es", Some("et"))),
            (&none, &env[..2], keys("env", "es", None)),
            (&none, &env[3..], Identity::Chain { profile: Some("ep".into()) }),
            (&none, &[], Identity::Chain { profile: None }),
            (&flags, &env, keys("flag", "fs", None)),
            (&flags, &[], keys("flag", "fs", None)),
            (&half, &env, keys("flag", "es", None)),
            (&profile, &env, Identity::Chain { profile: Some("p".into()) }),
            (&both, &env, keys("flag", "fs", None)),
            (&anonymous, &env, Identity::Anonymous),
        ];
        for (config, env, expected) in cases {
            assert_eq!(resolve(config, env).unwrap().identity, expected, "{config:?} {env:?}");
        }
        for (config, env) in [(&none, &env[..1]), (&none, &env[1..2]), (&half, &[])] {
            let error = resolve(config, env).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(!error.hints().is_empty());
        }
    }

    #[test]
    fn endpoints_are_checked() {
        for good in ["http://localhost:9000", "https://s3.example.com", "http://[::1]:9000", "https://h/path"] {
            assert_eq!(check_endpoint(good).unwrap(), good);
        }
        for bad in
            ["localhost:9000", "localhost", "ftp://h", "http://", "https://h?x", "http://a b", "https://u:hunter2@h"]
        {
            let error = check_endpoint(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{bad}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn the_metadata_services_are_never_behind_a_proxy() {
        let settings = resolve(&S3Config::default(), &[("NO_PROXY", "a,b"), ("AWS_CA_BUNDLE", "/ca.pem")]).unwrap();
        assert_eq!(settings.no_proxy, "a,b,169.254.169.254,169.254.170.2,169.254.170.23");
        assert_eq!(settings.ca_file, Some(PathBuf::from("/ca.pem")));
    }
}
