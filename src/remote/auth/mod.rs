//! Who asks, as the registry wants to be told: by name and password, or by a token of a token server.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>

mod challenge;
mod realm;
mod scope;
mod token;

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{HeaderMap, HeaderValue};
use storage_layout::RepositoryName;
use tokio::sync::Mutex;

use super::credentials::Keyring;
use super::http::Http;
use super::{Credential, Error, Login};
use challenge::Challenge;
pub(super) use scope::{Action, Scope};
use token::Token;

/// What is known of who asks, and the tokens that were got for that.
#[derive(Debug)]
pub(super) struct Auth {
    keyring: Keyring,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    challenge: Option<Challenge>,
    tokens: HashMap<(Option<RepositoryName>, BTreeSet<String>), Token>,
}

impl Auth {
    pub(super) fn new(login: &Login) -> Self {
        Self { keyring: Keyring::new(login.clone()), state: Mutex::default() }
    }

    /// Tells whether the registry has asked for anybody.
    pub(super) async fn was_asked_for(&self) -> bool {
        self.state.lock().await.challenge.is_some()
    }

    /// Returns what to send with a request for `scope`, as far as the registry has said what it wants. A token that is about to
    /// expire is renewed first.
    pub(super) async fn header(
        &self,
        http: &Http,
        scope: &Scope,
        attempted: &str,
    ) -> Result<Option<HeaderValue>, Error> {
        // Whoever else needs the same token waits for it here.
        let mut state = self.state.lock().await;
        let Some(challenge) = &state.challenge else { return Ok(None) };
        let credential = self.keyring.find(http.name(), scope.repository()).await?;
        let text = match (challenge, credential) {
            (_, Some(Credential::RegistryToken(token))) => format!("Bearer {}", token.reveal()),
            (Challenge::Basic, Some(Credential::Password { username, password })) => {
                basic(&username, password.reveal())
            }
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { realm, service }, credential) => {
                let key = (scope.repository().cloned(), scope.texts().clone());
                if let Some(token) = state.tokens.get(&key).filter(|token| token.renew_at > Instant::now()) {
                    return Ok(Some(secret_header(&format!("Bearer {}", token.secret.reveal()), attempted)?));
                }
                let token =
                    token::fetch(http, realm, service.as_deref(), scope, credential.as_ref(), attempted).await?;
                let text = format!("Bearer {}", token.secret.reveal());
                state.tokens.insert(key, token);
                text
            }
        };
        Ok(Some(secret_header(&text, attempted)?))
    }

    /// Learns from a refusal what the registry wants. Returns whether the same request, made for `scope`, may be answered now.
    /// `sent` is what was sent with it.
    pub(super) async fn learn(
        &self,
        http: &Http,
        headers: &HeaderMap,
        scope: &mut Scope,
        sent: Option<&HeaderValue>,
    ) -> Result<bool, Error> {
        let Some((challenge, wanted)) = challenge::parse(headers) else { return Ok(false) };
        let has_credential = self.keyring.find(http.name(), scope.repository()).await?.is_some();
        let mut state = self.state.lock().await;
        // What was sent is no good any more, unless somebody has renewed it meanwhile.
        let refused =
            |token: &Token| sent.is_some_and(|sent| sent.as_bytes().ends_with(token.secret.reveal().as_bytes()));
        state.tokens.retain(|_, token| !refused(token));
        let again = match &challenge {
            Challenge::Basic => sent.is_none() && has_credential,
            Challenge::Bearer { .. } => true,
        };
        scope.add(wanted);
        state.challenge = Some(challenge);
        Ok(again)
    }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}

/// Makes a header that no log shows.
fn secret_header(text: &str, attempted: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Error::Unexpected {
        attempted: attempted.to_owned(),
        problem: "the token holds characters that no header can".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
