//! Connection strings: <https://learn.microsoft.com/en-us/azure/storage/common/storage-configure-connection-string>.

use crate::backend::Secret;

/// The account of Azurite and of the emulators before it, which everybody knows.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// What a connection string says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectionString {
    pub(super) account: Option<String>,
    pub(super) key: Option<Secret>,
    pub(super) sas: Option<Secret>,
    pub(super) endpoint: Option<String>,
}

impl ConnectionString {
    /// Reads `Name=value;Name=value`. The error says which part is wrong and quotes nothing, for any of it may be the key.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parsed = Self::default();
        let (mut protocol, mut suffix) = ("https".to_owned(), "core.windows.net".to_owned());
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else { return Err("has a part without an equals sign") };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "usedevelopmentstorage" if value.eq_ignore_ascii_case("true") => {
                    parsed.account = Some(EMULATOR_ACCOUNT.to_owned());
                    parsed.key = Some(EMULATOR_KEY.into());
                    parsed.endpoint = Some(format!("http://127.0.0.1:10000/{EMULATOR_ACCOUNT}"));
                }
                "accountname" => parsed.account = Some(value.to_owned()),
                "accountkey" => parsed.key = Some(value.into()),
                "sharedaccesssignature" => parsed.sas = Some(value.into()),
                "blobendpoint" => parsed.endpoint = Some(value.trim_end_matches('/').to_owned()),
                "endpointsuffix" => value.clone_into(&mut suffix),
                "defaultendpointsprotocol" => value.clone_into(&mut protocol),
                // The other services of the account, and what tools add.
                _ => {}
            }
        }
        if parsed.account.is_none() && parsed.endpoint.is_none() {
            return Err("names no account");
        }
        if parsed.key.is_none() && parsed.sas.is_none() {
            return Err("holds neither a key nor a shared access signature");
        }
        if parsed.endpoint.is_none()
            && let Some(account) = &parsed.account
        {
            parsed.endpoint = Some(format!("{protocol}://{account}.blob.{suffix}"));
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_portal_writes_is_read() {
        let cases = [
            (
                "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5==;EndpointSuffix=core.windows.net",
                (Some("acct"), Some("a2V5=="), None, "https://acct.blob.core.windows.net"),
            ),
            (
                "AccountName=acct;AccountKey=k;EndpointSuffix=core.chinacloudapi.cn;",
                (Some("acct"), Some("k"), None, "https://acct.blob.core.chinacloudapi.cn"),
            ),
            (
                "BlobEndpoint=https://acct.blob.core.windows.net/;QueueEndpoint=x;SharedAccessSignature=sv=1&sig=a%3D",
                (None, None, Some("sv=1&sig=a%3D"), "https://acct.blob.core.windows.net"),
            ),
            (
                "defaultendpointsprotocol=http; accountname=a; accountkey=k; blobendpoint=http://h:1/a",
                (Some("a"), Some("k"), None, "http://h:1/a"),
            ),
            (
                "UseDevelopmentStorage=true",
                (Some(EMULATOR_ACCOUNT), Some(EMULATOR_KEY), None, "http://127.0.0.1:10000/devstoreaccount1"),
            ),
        ];
        for (text, (account, key, sas, endpoint)) in cases {
            let expected = ConnectionString {
                account: account.map(str::to_owned),
                key: key.map(Secret::from),
                sas: sas.map(Secret::from),
                endpoint: Some(endpoint.to_owned()),
            };
            assert!(ConnectionString::parse(text) == Ok(expected), "{text}");
        }
        for bad in ["", "hunter2", "AccountKey=k", "AccountName=a", "UseDevelopmentStorage=false"] {
            assert!(ConnectionString::parse(bad).is_err(), "{bad}");
        }
    }
}
