//! The accounts by name, which of them is the default, and what a new configuration changes about them.
//!
//! An account whose settings changed outside its fingerprint, such as a new client secret, counts as kept: it keeps its
//! tokens, but its owner must be given the new settings all the same.

use std::collections::BTreeMap;

use keyfob_protocol::DEFAULT_ACCOUNT;
use keyfob_protocol::account::AccountName;
use keyfob_protocol::daemon::ReloadReport;

use crate::account::Account;
use crate::account::suggestion::nearest;

/// The longest name, and the most names, that a message repeats.
const LONGEST_ECHO: usize = AccountName::MAX_LENGTH;
const MOST_NAMES: usize = 10;

/// The accounts by name.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    accounts: BTreeMap<AccountName, Account>,
    default: Option<AccountName>,
}

/// Why a name finds no account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownAccount {
    /// There are no accounts.
    #[error("no account is configured")]
    NoAccounts,
    /// The default was asked for, and several accounts have none.
    #[error("no account is the default; name one ({}), or set default_account", listed(.known))]
    NoDefault {
        /// The accounts that there are.
        known: Vec<AccountName>,
    },
    /// No account has this name, but one has almost this name.
    #[error("no account {asked:?}; did you mean \"{nearest}\"?")]
    Misspelt {
        /// What was asked for, cut to a readable length.
        asked: String,
        /// The nearest name that there is.
        nearest: AccountName,
    },
    /// No account has this name, nor one like it.
    #[error("no account {asked:?}; there is {}", listed(.known))]
    NoSuchAccount {
        /// What was asked for, cut to a readable length.
        asked: String,
        /// The accounts that there are.
        known: Vec<AccountName>,
    },
}

impl Registry {
    /// Takes the accounts, and the name of the default one.
    pub fn new(accounts: impl IntoIterator<Item = Account>, default: Option<AccountName>) -> Self {
        let accounts = accounts.into_iter().map(|account| (account.name.clone(), account)).collect();
        Self { accounts, default }
    }

    /// Finds the account with a name, or the default one by [`DEFAULT_ACCOUNT`].
    ///
    /// # Errors
    /// Says which name was probably meant.
    pub fn find(&self, asked: &str) -> Result<&Account, UnknownAccount> {
        if self.accounts.is_empty() {
            return Err(UnknownAccount::NoAccounts);
        }
        if asked == DEFAULT_ACCOUNT {
            let default =
                self.default.as_ref().ok_or_else(|| UnknownAccount::NoDefault { known: self.names() })?;
            return self.accounts.get(default).ok_or_else(|| self.unknown(default.as_str()));
        }
        let name = asked.parse::<AccountName>().map_err(|_| self.unknown(asked))?;
        self.accounts.get(&name).ok_or_else(|| self.unknown(asked))
    }

    /// Returns the accounts, sorted by name.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// Returns the name of the default account.
    pub fn default_account(&self) -> Option<&AccountName> {
        self.default.as_ref()
    }

    fn names(&self) -> Vec<AccountName> {
        self.accounts.keys().cloned().collect()
    }

    fn unknown(&self, name: &str) -> UnknownAccount {
        let asked = name.chars().take(LONGEST_ECHO).collect();
        let near = nearest(name, self.accounts.keys().map(AccountName::as_str));
        match near.and_then(|near| self.accounts.keys().find(|known| known.as_str() == near)) {
            Some(nearest) => UnknownAccount::Misspelt { asked, nearest: nearest.clone() },
            None => UnknownAccount::NoSuchAccount { asked, known: self.names() },
        }
    }
}

/// Tells what becomes of each account when `new` takes the place of `old`.
pub fn changes(old: &Registry, new: &Registry) -> ReloadReport {
    let mut report = ReloadReport::default();
    for (name, account) in &new.accounts {
        let list = match old.accounts.get(name) {
            None => &mut report.added,
            Some(earlier) if earlier.fingerprint() == account.fingerprint() => &mut report.kept,
            Some(_) => &mut report.changed,
        };
        list.push(name.clone());
    }
    report.removed = old.accounts.keys().filter(|name| !new.accounts.contains_key(*name)).cloned().collect();
    report
}

/// Returns the names for a sentence.
fn listed(names: &[AccountName]) -> String {
    let shown: Vec<_> = names.iter().take(MOST_NAMES).map(AccountName::as_str).collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::policy::{Access, Policy};
    use crate::account::{Grant, IssuerSettings, Provider};
    use crate::grant::authorization_code::BrowserLogin;
    use crate::oauth::{Client, ClientAuthentication, ClientId, ExtraParameters, LoopbackHttp, Server};
    use crate::token::{Scope, Target};

    fn account(name: &str, scope: &str) -> Account {
        let loopback = LoopbackHttp::Refused;
        let settings = IssuerSettings {
            site: crate::account::Site::Issuer(Server::Discovered {
                issuer: "https://login.example.com".to_owned(),
                loopback,
            }),
            client: Client {
                id: ClientId::Given("cli".to_owned()),
                authentication: ClientAuthentication::None,
            },
            grant: Grant::DeviceCode,
            target: Target { scope: Scope::parse(scope), ..Target::default() },
            extra: ExtraParameters::default(),
            browser: BrowserLogin::default(),
            rotation: crate::token::rotation::Profile::Unknown,
            loopback,
            dpop: crate::oauth::DpopPolicy::Auto,
            transport: crate::oauth::transport::Transport::default(),
        };
        Account {
            name: name.parse().unwrap(),
            provider: Provider::Issuer(settings),
            policy: Policy::default(),
        }
    }

    fn registry(names: &[&str], default: Option<&str>) -> Registry {
        Registry::new(
            names.iter().map(|name| account(name, "all")),
            default.map(|name| name.parse().unwrap()),
        )
    }

    #[test]
    fn an_account_is_found_by_its_name_and_the_default_by_a_tilde() {
        let registry = registry(&["ci", "prod"], Some("prod"));
        assert_eq!(registry.find("ci").unwrap().name.as_str(), "ci");
        assert_eq!(registry.find("~").unwrap().name.as_str(), "prod");
    }

    #[test]
    fn a_name_without_an_account_gets_the_sentence_that_helps() {
        let all = ["ci", "corp", "prod"];
        let many: Vec<_> = (0..13).map(|number| format!("account-{number:02}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        for (known, default, asked, sentence) in [
            (&all[..], None, "prdo", r#"no account "prdo"; did you mean "prod"?"#),
            (&all, None, "staging", r#"no account "staging"; there is ci, corp, prod"#),
            (&all, None, "../\u{1b}[31m", r#"no account "../\u{1b}[31m"; there is ci, corp, prod"#),
            (&all, None, "~", "no account is the default; name one (ci, corp, prod), or set default_account"),
            (&all, Some("corb"), "~", r#"no account "corb"; did you mean "corp"?"#),
            (&[], None, "prod", "no account is configured"),
            (&[], Some("prod"), "~", "no account is configured"),
            (
                &many,
                None,
                "~",
                "no account is the default; name one (account-00, account-01, account-02, account-03, account-04, \
                 account-05, account-06, account-07, account-08, account-09 and 3 more), or set default_account",
            ),
        ] {
            assert_eq!(registry(known, default).find(asked).unwrap_err().to_string(), sentence);
        }
    }

    #[test]
    fn a_message_repeats_no_more_than_a_names_length_of_what_was_asked() {
        let message = registry(&["prod"], None).find(&"x".repeat(1 << 20)).unwrap_err().to_string();
        assert!(message.len() < 200, "{message}");
    }

    #[test]
    fn a_reload_sorts_the_accounts_by_what_becomes_of_their_tokens() {
        let old = Registry::new([account("a", "all"), account("b", "all"), account("c", "all")], None);
        let new = Registry::new([account("b", "all"), account("c", "less"), account("d", "all")], None);
        let names =
            |list: Vec<AccountName>| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let report = changes(&old, &new);
        assert_eq!(names(report.added), "d");
        assert_eq!(names(report.changed), "c");
        assert_eq!(names(report.kept), "b");
        assert_eq!(names(report.removed), "a");
    }

    #[test]
    fn a_new_client_secret_keeps_the_tokens() {
        let old = account("ci", "all");
        let mut new = old.clone();
        let Provider::Issuer(issuer) = &mut new.provider else { panic!("an issuer") };
        issuer.client.authentication =
            ClientAuthentication::SecretBasic(crate::oauth::ClientSecret::File("/run/secrets/ci".into()));
        let report = changes(&Registry::new([old], None), &Registry::new([new], None));
        assert_eq!((report.kept.len(), report.changed.len()), (1, 0));
    }

    #[test]
    fn another_policy_keeps_the_tokens() {
        let old = account("prod", "all");
        let policy = Policy { access: Access::Deny, ..Policy::default() };
        let new = Account { policy, ..old.clone() };
        let report = changes(&Registry::new([old], None), &Registry::new([new], None));
        assert_eq!((report.kept.len(), report.changed.len()), (1, 0));
    }
}
