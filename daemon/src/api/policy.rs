//! Whether the program that asks gets the token that it asks for: an account's policy, and what is taken down about it.
//!
//! The policy is that of the latest reload. The thing to get wrong: an issuer may grant more than it was asked for, so what
//! a token is good for is looked at when it is there, before it goes out.

use std::sync::Arc;
use std::time::Duration;

use keyfob_protocol::account::AccountName;
use keyfob_protocol::audit::{AuditEntry, AuditOutcome};
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::token::TokenKind as Kind;

use super::Api;
use super::audit::{Issue, Token};
use super::confirm::{Asking, Unconfirmed};
use super::error::{ApiError, told_target};
use super::peer::Peer;
use crate::account::Account;
use crate::account::policy::{Access, Asker, NotAllowed};
use crate::cache::entry::Asked;
use crate::cache::view::Served;
use crate::clock::Now;
use crate::grant::Wanted;
use crate::token::TokenHash;
use crate::token::failure::Message;
use crate::token::need::TokenKind;

/// A request for a token, as it is judged.
pub(super) struct Case<'a> {
    pub(super) api: &'a Api,
    pub(super) account: Arc<Account>,
    pub(super) peer: &'a Peer,
    /// The program that the token is for.
    pub(super) asker: Asker,
    pub(super) asked: &'a Asked,
}

/// Why a request is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Denial {
    Policy(NotAllowed),
    Person(Unconfirmed),
}

impl Case<'_> {
    /// Decides whether the program may ask, and returns what is left of its time to wait once it may.
    pub(super) async fn admit(&self, wait: Duration) -> Result<Duration, ApiError> {
        let policy = &self.account.policy;
        let admitted = policy.admits(&self.asker).and_then(|()| match &self.asked.wanted {
            Wanted::Own => Ok(()),
            Wanted::Other(target) => policy.admits_request(&target.scope),
        });
        admitted.map_err(|why| self.deny(&Denial::Policy(why), None))?;
        match policy.access {
            Access::Allow | Access::Deny => Ok(wait),
            Access::Confirm => {
                let clock = self.api.cache.clock();
                let asked_at = clock.now();
                let asking =
                    Asking { account: &self.account.name, asker: &self.asker, wanted: &self.wanted() };
                let confirmed = self.api.confirmations.ask(asking, asked_at, wait).await;
                confirmed.map_err(|why| self.deny(&Denial::Person(why), None))?;
                Ok(wait.saturating_sub(clock.now().moment.since(asked_at.moment)))
            }
        }
    }

    /// Decides whether a token may go out, by what it is good for.
    pub(super) fn accept(&self, served: &Served) -> Result<(), ApiError> {
        let accepted = self.account.policy.admits_token(&served.tokens.scope);
        accepted.map_err(|why| self.deny(&Denial::Policy(why), Some(served)))
    }

    /// Takes down that a token goes out.
    pub(super) fn issued(&self, served: &Served, hash: TokenHash) {
        let now = self.api.cache.clock().now();
        let token = Token { kind: self.asked.need.kind, hash, scope: &served.tokens.scope };
        let issue = Issue { account: &self.account.name, asker: &self.asker, token };
        self.api.audit.issued(issue, now, || AuditEntry {
            fingerprint: Some(hash.fingerprint()),
            ..self.entry(AuditOutcome::Issued, Some(served), now)
        });
    }

    fn deny(&self, why: &Denial, served: Option<&Served>) -> ApiError {
        let body = told(why, &self.account.name, &self.asker);
        let now = self.api.cache.clock().now();
        let reason = Some(body.message.clone());
        let entry = AuditEntry { reason, ..self.entry(AuditOutcome::Denied, served, now) };
        self.api.audit.denied(&self.asker, now, entry);
        ApiError(body)
    }

    fn entry(&self, outcome: AuditOutcome, served: Option<&Served>, now: Now) -> AuditEntry {
        let scope = match (served, &self.asked.wanted) {
            (Some(served), _) => served.tokens.scope.to_string(),
            (None, Wanted::Other(target)) => target.scope.to_string(),
            (None, Wanted::Own) => String::new(),
        };
        AuditEntry {
            at: now.wall,
            times: 1,
            account: self.account.name.clone(),
            outcome,
            reason: None,
            uid: self.peer.uid,
            pid: self.asker.pid,
            program: self.asker.program.to_string(),
            unit: self.asker.shown_unit(),
            kind: match self.asked.need.kind {
                TokenKind::Access => Kind::Access,
                TokenKind::Id => Kind::Id,
            },
            // It may be the request's text, and so as long as a request.
            scope: Some(Message::from(scope).to_string()).filter(|scope| !scope.is_empty()),
            fingerprint: None,
        }
    }

    /// Says what is asked for beyond what the account says.
    fn wanted(&self) -> String {
        match &self.asked.wanted {
            Wanted::Own => String::new(),
            Wanted::Other(target) => told_target(target),
        }
    }
}

/// Says why a program is denied a token, and which setting or command changes that.
fn told(why: &Denial, account: &AccountName, asker: &Asker) -> ErrorBody {
    let program = &asker.program;
    let section = format!("accounts.{account}.policy");
    let add = |key: &str| format!("add it to {section}.{key}, then run: keyfob reload");
    let (message, hint) = match why {
        Denial::Policy(NotAllowed::Deny) => (
            format!("nobody gets a token of {account}: {section}.access is \"deny\""),
            "change that, then run: keyfob reload".to_owned(),
        ),
        Denial::Policy(NotAllowed::Program) => {
            (format!("{program} may not have a token of {account}"), add("programs"))
        }
        Denial::Policy(NotAllowed::Elsewhere) => (
            format!("{program} may not have a token of {account}: what it runs is not the file of that name"),
            "if it was updated start it again; in a container no program can be listed".to_owned(),
        ),
        Denial::Policy(NotAllowed::Unseen) => (
            format!(
                "{program} may not have a token of {account}: keyfobd cannot see which program it is, and only some may"
            ),
            format!("list {section}.units instead, or run keyfobd without PrivateUsers="),
        ),
        Denial::Policy(NotAllowed::Unit) => {
            let unit = match asker.shown_unit() {
                Some(unit) => format!("{program} in {unit}"),
                None => format!("{program} in no unit"),
            };
            (
                format!("{unit} may not have a token of {account}"),
                format!("run it in one of {section}.units, or add its unit there and run: keyfob reload"),
            )
        }
        Denial::Policy(NotAllowed::Scope(excess)) => (
            format!(
                "a token of {account} for the scope {} is more than its policy allows",
                Message::from(excess.to_string())
            ),
            format!("ask for less with --scope, or {}", add("scopes")),
        ),
        Denial::Policy(NotAllowed::UnknownScope) => (
            format!("nobody says what the token of {account} is good for, and its policy limits that"),
            format!("set accounts.{account}.scopes, or remove {section}.scopes, then run: keyfob reload"),
        ),
        Denial::Person(Unconfirmed::Unanswered) => (
            format!("{program} has to be allowed a token of {account} by you"),
            "run: keyfob confirm".to_owned(),
        ),
        Denial::Person(Unconfirmed::Refused) => (
            format!("{program} was refused a token of {account} by you"),
            "to be asked again run: keyfob reload".to_owned(),
        ),
        Denial::Person(Unconfirmed::Crowded) => (
            format!("{program} may not have a token of {account}: too many programs wait to be confirmed"),
            "run: keyfob confirm".to_owned(),
        ),
    };
    ErrorBody::new(ErrorCode::Denied, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::policy::Program;
    use crate::token::Scope;

    #[test]
    fn a_denial_names_the_program_the_account_and_what_changes_it() {
        let asker = Asker {
            pid: Some(7),
            program: Program::File("/bin/\u{1b}[2Jx".into()),
            unit: Some("x.service".to_owned()),
        };
        let line = |why| told(&why, &"prod".parse().unwrap(), &asker).to_string();
        for (why, expected) in [
            (
                Denial::Policy(NotAllowed::Deny),
                "nobody gets a token of prod: accounts.prod.policy.access is \"deny\"; change that, then run: keyfob reload",
            ),
            (
                Denial::Policy(NotAllowed::Program),
                "/bin/[2Jx may not have a token of prod; add it to accounts.prod.policy.programs, then run: keyfob reload",
            ),
            (
                Denial::Policy(NotAllowed::Unit),
                "/bin/[2Jx in x.service may not have a token of prod; run it in one of accounts.prod.policy.units, or add \
                 its unit there and run: keyfob reload",
            ),
            (
                Denial::Policy(NotAllowed::Scope(Scope::parse("write"))),
                "a token of prod for the scope write is more than its policy allows; ask for less with --scope, or add it \
                 to accounts.prod.policy.scopes, then run: keyfob reload",
            ),
            (
                Denial::Person(Unconfirmed::Unanswered),
                "/bin/[2Jx has to be allowed a token of prod by you; run: keyfob confirm",
            ),
        ] {
            assert_eq!(line(why), expected);
        }
    }
}
