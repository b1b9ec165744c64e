//! A program as the source of tokens: a cloud's command line tool, or whatever else prints one.
//!
//! It prints a bare token, or a JSON object with one and its expiry. The things to get wrong: what it prints is secret
//! and gets into no message, and a lifetime is counted from when the program was started, never from its end.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::clock::{Clock, Moment, Now};
use crate::grant::program::{self, Environment, Error};
use crate::grant::{Adoption, Attendance, Flow, Login, Pending, Renewal, Revoked, TokenSource, Wanted};
use crate::oauth::json::{self, Member};
use crate::oauth::jwt;
use crate::oauth::token_endpoint::LONGEST_LIFE;
use crate::token::failure::Failure;
use crate::token::{AccessToken, RefreshToken, TokenSet};

/// How long a token is assumed to live where neither the program nor the token tells: short enough that few of them
/// are served when they have expired, long enough that a slow program does not run all the time.
pub const DEFAULT_ASSUMED_LIFETIME: Duration = Duration::from_secs(300);

/// A program that prints tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name and its arguments.
    pub argv: Vec<String>,
    /// How long a token lives where neither the program nor the token tells.
    pub assume_lifetime: Duration,
}

impl Program {
    /// Returns its name.
    pub fn name(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }
}

/// Without the arguments: people write secrets there.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Obtains tokens from a program.
#[derive(Debug)]
pub(crate) struct Command {
    /// The program.
    pub(crate) program: Program,
    /// When.
    pub(crate) clock: Clock,
    /// What the program gets.
    pub(crate) environment: Environment,
}

impl TokenSource for Command {
    fn attendance(&self) -> Attendance {
        Attendance::Unattended
    }

    /// Ignores a refresh token: a program gives none.
    fn renew(&self, _: Option<RefreshToken>, wanted: Wanted) -> Pending<Result<Renewal, Failure>> {
        let (program, environment) = (self.program.clone(), self.environment.clone());
        let started = self.clock.now();
        Box::pin(async move {
            if let Wanted::Other(_) = wanted {
                return Err(Failure::misconfigured(
                    "the program of the account prints one token: it cannot be asked for another scope or audience",
                ));
            }
            let output =
                program::output(&program.argv, &environment).await.map_err(|error| failure(&error))?;
            let read = token(output.expose_secret().trim(), started, program.assume_lifetime);
            let access = read.map_err(|what| unusable(program.name(), what))?;
            Ok(Renewal::Obtained(Box::new(TokenSet::of(access))))
        })
    }

    fn begin_login(&self, _: Flow) -> Pending<Result<Login, Failure>> {
        Box::pin(async {
            Err(Failure::misconfigured(
                "an account with grant = \"command\" needs no login here: ask for a token",
            ))
        })
    }

    fn adopt(&self, _: SecretString) -> Adoption {
        Box::pin(async {
            Err(Failure::misconfigured("an account with a program has no use for a refresh token"))
        })
    }

    /// Only whoever issued a token could take it back, and the program does not say who that is.
    fn revoke(&self, _: TokenSet) -> Pending<Result<Revoked, Failure>> {
        Box::pin(async { Ok(Revoked::Unsupported) })
    }
}

/// Unlike a secret that is kept somewhere, a token that is missing now may be there soon.
fn failure(error: &Error) -> Failure {
    match error {
        Error::Unusable { program, what } => unusable(program, what),
        Error::NoProgram
        | Error::NotStarted { .. }
        | Error::NoStarter { .. }
        | Error::TooSlow { .. }
        | Error::Lost { .. }
        | Error::Failed { .. } => error.classify(),
    }
}

fn unusable(program: &str, what: &str) -> Failure {
    Failure::transient(format!(
        "{program} printed {what}: it should print a token, or a JSON object with one"
    ))
}

/// The names that programs give to a token and its expiry. Of several that are there, the first counts.
#[derive(Default, Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    access_token: Member<'a>,
    #[serde(borrow, rename = "accessToken")]
    access_token_in_camel_case: Member<'a>,
    #[serde(borrow)]
    token: Member<'a>,
    #[serde(borrow)]
    id_token: Member<'a>,
    /// An `ExecCredential` of Kubernetes has both in here.
    #[serde(borrow)]
    status: Member<'a>,

    #[serde(borrow)]
    token_type: Member<'a>,

    #[serde(borrow)]
    expires_in: Member<'a>,
    #[serde(borrow)]
    expires_at: Member<'a>,
    /// Unix time, where the `expiresOn` of the same tool is a local time without its offset, which cannot be read.
    #[serde(borrow)]
    expires_on: Member<'a>,
    #[serde(borrow)]
    expiry: Member<'a>,
    #[serde(borrow, rename = "expiresOn")]
    expires_on_in_camel_case: Member<'a>,
    #[serde(borrow, rename = "expirationTimestamp")]
    expiration_timestamp: Member<'a>,
}

impl Members<'_> {
    fn token(&self) -> Option<SecretString> {
        let names = [self.access_token, self.access_token_in_camel_case, self.token, self.id_token];
        names.into_iter().find_map(json::secret)
    }

    fn is_bearer(&self) -> bool {
        json::text(self.token_type).is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"))
    }

    fn expiry(&self, started: Now) -> Option<Moment> {
        if let Some(life) = json::duration(self.expires_in, LONGEST_LIFE) {
            return Some(started.moment.after(life));
        }
        let names = [
            self.expires_at,
            self.expires_on,
            self.expiry,
            self.expires_on_in_camel_case,
            self.expiration_timestamp,
        ];
        names.into_iter().find_map(time).map(|at| started.moment_at(at))
    }
}

/// Reads Unix time or RFC 3339. What is not after 1970 is some language's way to say nothing.
fn time(member: Member<'_>) -> Option<Timestamp> {
    let time = jwt::numeric_date(member).or_else(|| json::text(member)?.parse().ok());
    time.filter(|time| *time > Timestamp::UNIX_EPOCH)
}

/// Reads what a program printed; what is wrong with it is told without a word of it.
fn token(text: &str, started: Now, assumed: Duration) -> Result<AccessToken, &'static str> {
    let (secret, stated) = match text.chars().next() {
        Some('{') => object(text, started)?,
        // A tool that prints JSON was asked for one value of it: no token begins like this.
        Some('"' | '[') => return Err("JSON that is no object"),
        Some(_) | None => (text.into(), None),
    };
    let jwt = || jwt::expiry(secret.expose_secret()).map(|at| started.moment_at(at));
    let expires_at = stated.or_else(jwt).unwrap_or_else(|| started.moment.after(assumed));
    if expires_at <= started.moment {
        return Err("a token that has expired by the clock of this machine");
    }
    let expires_at = expires_at.min(started.moment.after(LONGEST_LIFE));
    AccessToken::new(secret, started.moment, Some(expires_at)).map_err(|_| "something that is no token")
}

fn object(text: &str, started: Now) -> Result<(SecretString, Option<Moment>), &'static str> {
    let outer: Members<'_> = json::object(text.as_bytes()).map_err(|_| "JSON that cannot be read")?;
    let status = outer.status.and_then(|status| json::object(status.get().as_bytes()).ok());
    // What is inside belongs together: neither takes its expiry from the other.
    let members = if outer.token().is_some() { outer } else { status.unwrap_or_default() };
    let secret = members.token().ok_or("a JSON object without a token")?;
    if !members.is_bearer() {
        return Err("a token that is no bearer token");
    }
    Ok((secret, members.expiry(started)))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    /// When the program starts, as [`Clock::following_tokio`] has it.
    const STARTED: i64 = 1_795_262_400;

    const ASSUMED: Duration = Duration::from_secs(77);

    fn jwt(exp: i64) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}}}"#)))
    }

    /// Returns the token and how many seconds it lives.
    fn read(text: &str) -> Result<(String, u64), &'static str> {
        let access = token(text, Clock::following_tokio().now(), ASSUMED)?;
        Ok((access.secret().expose_secret().to_owned(), access.lifetime().unwrap().as_secs()))
    }

    fn source(script: &str) -> Command {
        let argv = ["sh", "-c", script, "CANARY-ARGUMENT"].map(str::to_owned).to_vec();
        sourced(argv)
    }

    fn sourced(argv: Vec<String>) -> Command {
        let variables = [("PATH", "/usr/bin:/bin")].map(|(name, value)| (name.into(), value.into()));
        Command {
            program: Program { argv, assume_lifetime: ASSUMED },
            clock: Clock::system(),
            environment: Environment::from_own(variables),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_form_of_output_gives_its_token_and_its_life() {
        let jwt = jwt(STARTED + 600);
        assert_eq!(Clock::following_tokio().now().wall.as_second(), STARTED);
        for (text, token, life) in [
            ("AT".to_owned(), "AT", 77),
            (jwt.clone(), jwt.as_str(), 600),
            (format!(r#"{{"access_token":"{jwt}"}}"#), jwt.as_str(), 600),
            (format!(r#"{{"access_token":"{jwt}","expires_in":60}}"#), jwt.as_str(), 60),
            (r#"{"access_token":"AT","token_type":"bearer"}"#.to_owned(), "AT", 77),
            (r#"{"accessToken":"AT","expiresOn":"2026-11-21 14:00:00.000000"}"#.to_owned(), "AT", 77),
            (r#"{"accessToken":"AT","expiresOn":"local","expires_on":1795262700}"#.to_owned(), "AT", 300),
            (r#"{"id_token":"IT","token":7}"#.to_owned(), "IT", 77),
            (r#"{"id_token":"IT","access_token":"AT"}"#.to_owned(), "AT", 77),
            (
                r#"{"kind":"ExecCredential","status":{"token":"T","expirationTimestamp":"2026-11-21T12:05:00Z"}}"#
                    .to_owned(),
                "T",
                300,
            ),
            (r#"{"token":"T","status":"ready"}"#.to_owned(), "T", 77),
        ] {
            assert_eq!(read(&text), Ok((token.to_owned(), life)), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_form_of_an_expiry_is_read() {
        for (member, life) in [
            (r#""expires_in":300"#, 300),
            (r#""expires_in":"300""#, 300),
            (r#""expires_in":1e400"#, LONGEST_LIFE.as_secs()),
            (r#""expires_in":"soon","expires_at":1795262700"#, 300),
            (r#""expires_at":"1795262700""#, 300),
            (r#""expires_at":1795262700.5"#, 300),
            (r#""expires_at":1795262700000"#, LONGEST_LIFE.as_secs()),
            (r#""expiry":"2026-11-21T12:05:00Z""#, 300),
            (r#""expiry":"2026-11-21T14:05:00.25+02:00""#, 300),
            (r#""expiresOn":"2026-11-21T12:05:00Z""#, 300),
            (r#""expirationTimestamp":"2026-11-21T12:05:00Z""#, 300),
            (r#""expiry":"9000-01-01T00:00:00Z""#, LONGEST_LIFE.as_secs()),
            // How some languages write that there is none.
            (r#""expiry":"0001-01-01T00:00:00Z""#, 77),
            (r#""expires_at":0"#, 77),
            (r#""expires_at":null"#, 77),
        ] {
            let found = read(&format!(r#"{{"token":"T",{member}}}"#)).map(|(_, life)| life);
            assert_eq!(found, Ok(life), "{member}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_token_is_refused() {
        for (text, what) in [
            ("", "something that is no token"),
            ("two words", "something that is no token"),
            ("two\nlines", "something that is no token"),
            ("tok\u{e9}n", "something that is no token"),
            ("\"AT\"", "JSON that is no object"),
            (r#"["AT"]"#, "JSON that is no object"),
            ("{", "JSON that cannot be read"),
            (r#"{"token":"A"}{"token":"B"}"#, "JSON that cannot be read"),
            (r#"{"token":"A","token":"B"}"#, "JSON that cannot be read"),
            ("{}", "a JSON object without a token"),
            (r#"{"access_token":"","status":{}}"#, "a JSON object without a token"),
            (r#"{"error":"CANARY"}"#, "a JSON object without a token"),
            (r#"{"token":"a\r\nb"}"#, "something that is no token"),
            (r#"{"access_token":"AT","token_type":"mac"}"#, "a token that is no bearer token"),
            (r#"{"token":"T","expires_in":0}"#, "a token that has expired by the clock of this machine"),
            (r#"{"token":"T","expires_at":9}"#, "a token that has expired by the clock of this machine"),
            (&jwt(STARTED), "a token that has expired by the clock of this machine"),
        ] {
            assert_eq!(read(text), Err(what), "{text}");
        }
    }

    #[tokio::test]
    async fn a_program_gives_tokens_without_a_person() {
        let source = source("echo; echo \"  AT \"; echo");
        assert_eq!(source.attendance(), Attendance::Unattended);
        let tokens = source.renew(None, Wanted::Own).await.unwrap().tokens().await.unwrap();
        assert_eq!(tokens.access.secret().expose_secret(), "AT");
        assert_eq!(tokens.access.lifetime(), Some(ASSUMED));
        let Err(failure) = source.begin_login(Flow::Configured).await else { panic!("a login began") };
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
        assert_eq!(source.revoke(tokens).await, Ok(Revoked::Unsupported));
    }

    #[tokio::test]
    async fn a_life_is_counted_from_the_start_of_the_program() {
        let source = source("echo AT");
        let before = source.clock.now().moment;
        let renewal = source.renew(None, Wanted::Own);
        let after = source.clock.now().moment;
        let issued_at = renewal.await.unwrap().tokens().await.unwrap().access.issued_at;
        assert!(before <= issued_at && issued_at <= after);
    }

    #[tokio::test]
    async fn trouble_passes_and_its_message_holds_nothing_that_was_printed() {
        for (script, sentence) in [
            (
                "echo CANARY; printf 'log\\033[2J in\\nfirst' >&2; exit 3",
                "sh failed (exit status: 3): log[2J in first",
            ),
            (
                "echo CANARY CANARY",
                "sh printed something that is no token: it should print a token, or a JSON object with one",
            ),
            ("true", "sh printed nothing: it should print a token, or a JSON object with one"),
        ] {
            let failure = source(script).renew(None, Wanted::Own).await.unwrap_err();
            assert!(matches!(failure, Failure::Transient { .. }), "{script}: {failure}");
            assert_eq!(failure.to_string(), sentence);
        }
    }

    #[tokio::test]
    async fn a_program_that_cannot_run_is_a_mistake_in_the_settings() {
        for program in ["/nonexistent/program", "keyfob-test-no-such-program", "/etc/hostname"] {
            let failure = sourced(vec![program.to_owned()]).renew(None, Wanted::Own).await.unwrap_err();
            assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
            assert!(failure.to_string().contains(program), "{failure}");
        }
    }

    #[test]
    fn the_arguments_are_not_in_the_debug_form() {
        let shown = format!("{:?}", source("echo CANARY"));
        assert!(shown.contains("\"sh\"") && !shown.contains("CANARY"), "{shown}");
    }
}
