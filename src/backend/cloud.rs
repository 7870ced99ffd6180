//! What the stores behind HTTP have in common: settings are completed, and then nothing takes longer than it may.

use object_store::path::Path;

use super::error::{Error, in_time};
use super::http::Limits;
use super::server_copy::Opened;
use super::{Intent, Leftovers};

/// A kind of store behind HTTP.
pub(super) trait Cloud {
    /// The configuration with its gaps filled.
    type Settings;

    /// The store's word for a bucket.
    const BUCKET: &'static str = "bucket";

    /// Fills the gaps from the environment, and where else its provider's tools look.
    async fn settings(&self) -> Result<Self::Settings, Error>;

    /// Refuses what cannot stand in a URL. The store itself has stricter rules and says so.
    fn check_bucket(bucket: &str) -> Result<(), Error>;

    /// Says where the store is, for messages.
    fn address(settings: &Self::Settings) -> &str;

    /// Names a bucket and where it is, for messages.
    fn place(settings: &Self::Settings, bucket: &str) -> String {
        format!("{} \"{bucket}\" at {}", Self::BUCKET, Self::address(settings))
    }

    /// Opens a bucket, and makes sure that it is there and answers.
    async fn open(
        &self,
        limits: &Limits,
        settings: &Self::Settings,
        bucket: &str,
        root: &Path,
        intent: Intent,
    ) -> Result<Opened, Error>;

    /// Says which credentials there are and where they come from. Login services are asked for them.
    async fn credentials_found(&self, limits: &Limits, settings: &Self::Settings) -> Result<String, Error>;

    /// Tells what becomes of unfinished uploads.
    async fn leftovers(
        &self,
        limits: &Limits,
        settings: &Self::Settings,
        bucket: &str,
        root: &Path,
    ) -> Result<Leftovers, Error>;
}

/// Refuses a name with other characters than letters, digits and `marks`: it cannot be `what`, by the store's `rule`.
pub(super) fn check_name(bucket: &str, marks: &str, what: &str, rule: &str) -> Result<(), Error> {
    super::check_bucket(bucket)?;
    if bucket.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c)) {
        return Ok(());
    }
    Err(Error::usage(format!("\"{}\" cannot be {what}", bucket.escape_debug())).with_hint(rule))
}

/// Opens a bucket.
pub(super) async fn connect<C: Cloud>(config: &C, bucket: &str, root: &Path, intent: Intent) -> Result<Opened, Error> {
    connect_within(config, &Limits::default(), &config.settings().await?, bucket, root, intent).await
}

/// Opens a bucket with settings that are complete.
pub(super) async fn connect_within<C: Cloud>(
    config: &C,
    limits: &Limits,
    settings: &C::Settings,
    bucket: &str,
    root: &Path,
    intent: Intent,
) -> Result<Opened, Error> {
    C::check_bucket(bucket)?;
    // Amazon's credential chain makes a future of some 25 KiB.
    let opening = Box::pin(config.open(limits, settings, bucket, root, intent));
    in_time(limits.total, &C::place(settings, bucket), opening).await
}

/// Says which credentials there are.
pub(super) async fn credentials_found<C: Cloud>(config: &C) -> Result<String, Error> {
    let (limits, settings) = (Limits::default(), config.settings().await?);
    let finding = Box::pin(config.credentials_found(&limits, &settings));
    in_time(limits.total, "the credentials' source", finding).await
}

/// Tells what becomes of unfinished uploads to a bucket.
pub(super) async fn leftovers<C: Cloud>(config: &C, bucket: &str, root: &Path) -> Result<Leftovers, Error> {
    C::check_bucket(bucket)?;
    let (limits, settings) = (Limits::default(), config.settings().await?);
    let asking = Box::pin(config.leftovers(&limits, &settings, bucket, root));
    in_time(limits.total, &C::place(&settings, bucket), asking).await
}
