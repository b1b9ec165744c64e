//! What a fake issuer knows: its settings, the device codes that are out, and its ledger.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::authorization::Code;
use super::client_assertion;
use super::client_auth::{Refusal, authenticate};
use super::device::DeviceCode;
use super::dpop::Seen;
use super::form::Form;
use super::ledger::{AccessToken, Ledger};
use super::reply::Reply;
use super::settings::{Client, ExpiresIn, Settings};
use crate::patience;

/// What a fake issuer knows.
#[derive(Debug)]
pub(crate) struct Books {
    /// Where it is reached.
    pub(crate) url: String,
    /// How it behaves.
    pub(crate) settings: Settings,
    /// What happened.
    pub(crate) ledger: Ledger,
    /// The device codes that are out.
    pub(crate) device_codes: Vec<DeviceCode>,
    /// The authorization codes that are out.
    pub(crate) codes: Vec<Code>,
    /// What it remembers of proofs of possession.
    pub(crate) proofs: Seen,
    /// How many of the next polls are told to slow down.
    pub(crate) slow_downs: usize,
    /// The identifiers of the client assertions that were used.
    assertions: Vec<String>,
    minted: u64,
}

impl Books {
    pub(crate) fn new(url: String, settings: Settings) -> Self {
        Self {
            url,
            settings,
            ledger: Ledger::default(),
            device_codes: Vec::new(),
            codes: Vec::new(),
            proofs: Seen::default(),
            slow_downs: 0,
            assertions: Vec::new(),
            minted: 0,
        }
    }

    /// Returns the client that sent a form, or the answer that turns it away.
    pub(crate) fn client(&mut self, form: &Form) -> Result<Client, Reply> {
        let authenticated = match form.get("client_assertion") {
            Some(_) => self.client_by_assertion(form),
            None => authenticate(&self.settings.clients, form).cloned(),
        };
        authenticated.map_err(|refusal| {
            if let Refusal::Violation(text) = &refusal {
                self.ledger.violations.push(text.clone());
            }
            refusal.reply()
        })
    }

    /// Returns the time by its own clock.
    pub(crate) fn unix_time(&self) -> i64 {
        let ahead = i64::try_from(self.settings.clock_ahead.as_secs())
            .expect("a clock that is off by less than an age");
        patience::unix_time() + ahead
    }

    /// An assertion works once.
    fn client_by_assertion(&mut self, form: &Form) -> Result<Client, Refusal> {
        let now = self.unix_time();
        let (client, identifier) =
            client_assertion::authenticate(&self.settings.clients, form, &self.url, now)?;
        if self.assertions.contains(&identifier) {
            return Err(Refusal::Violation("an assertion that came twice".to_owned()));
        }
        self.assertions.push(identifier);
        Ok(client)
    }

    /// Returns the scope that a form asks for; all that there is if it asks for none.
    pub(crate) fn scope(&self, form: &Form) -> Result<String, Reply> {
        let known = &self.settings.scopes;
        match form.get("scope") {
            None => Ok(known.join(" ")),
            Some(asked) if asked.split(' ').all(|one| known.iter().any(|scope| scope == one)) => {
                Ok(asked.to_owned())
            }
            Some(_) => Err(Reply::error(400, "invalid_scope")),
        }
    }

    /// Makes a secret that a leak scan finds: the prefix, its kind, its number, and 16 hexadecimal digits.
    pub(crate) fn mint(&mut self, kind: &str) -> String {
        self.minted += 1;
        let hash = Sha256::digest(format!("{} {kind} {}", self.url, self.minted));
        let digits: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{kind}-{}-{digits}", self.settings.secret_prefix, self.minted)
    }

    /// Gives an access token, and a refresh token with it if there is one.
    pub(crate) fn grant(&mut self, given: &Given, now: Duration) -> Reply {
        let token = self.mint("AT");
        let lifetime = self.settings.access_lifetime;
        self.ledger.access_tokens.push(AccessToken {
            token: token.clone(),
            issued: now,
            expires: now + lifetime,
            family: given.family,
            revoked: false,
        });
        let mut body =
            json!({ "access_token": token, "token_type": self.settings.token_type, "scope": given.scope });
        if let Some(expires_in) = expires_in(self.settings.expires_in, lifetime) {
            body["expires_in"] = expires_in;
        }
        if let Some(refresh_token) = &given.refresh_token {
            body["refresh_token"] = refresh_token.as_str().into();
        }
        if let Some(id_token) = &given.id_token {
            body["id_token"] = id_token.as_str().into();
        }
        Reply::json(200, &body)
    }
}

/// What a token answer gives beside the access token.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) scope: String,
    pub(crate) family: Option<usize>,
    pub(crate) refresh_token: Option<String>,
    pub(crate) id_token: Option<String>,
}

fn expires_in(told: ExpiresIn, lifetime: Duration) -> Option<Value> {
    match told {
        ExpiresIn::Absent => None,
        ExpiresIn::Number => Some(lifetime.as_secs().into()),
        ExpiresIn::Text => Some(lifetime.as_secs().to_string().into()),
    }
}
