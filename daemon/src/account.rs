//! An account is settings, nothing running: which issuer, which client, which grant, for which scope; or which program.

pub mod policy;
pub mod registry;
pub(crate) mod suggestion;

use std::fmt;
use std::iter;
use std::sync::Arc;

use keyfob_protocol::account::{AccountName, GrantKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::account::policy::Policy;
use crate::clock::Clock;
use crate::flyte::discovery::Discoveries;
use crate::flyte::{Endpoint, Plaintext};
use crate::grant::TokenSource;
use crate::grant::authorization_code::{AuthorizationCode, BrowserLogin};
use crate::grant::binding::{Binding, Lessons};
use crate::grant::client_credentials::ClientCredentials;
use crate::grant::command::{Command, Program};
use crate::grant::device_code::DeviceCode;
use crate::grant::issuer::{self, Issuer};
use crate::grant::program::Environment;
use crate::oauth::discovery::Discovery;
use crate::oauth::http::Http;
use crate::oauth::transport::{Transport, Trust};
use crate::oauth::{Client, ClientId, DpopPolicy, ExtraParameters, LoopbackHttp, Server};
use crate::token::Target;
use crate::token::digest::hex;
use crate::token::rotation::Profile;

/// One named login, as the configuration has it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// Who gives its tokens.
    pub provider: Provider,
    /// Who may have them. It is no part of the fingerprint.
    pub policy: Policy,
}

/// Who gives an account its tokens: a closed set, matched in full.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a handful, and the small one is the rare one")]
pub enum Provider {
    /// An authorization server.
    Issuer(IssuerSettings),
    /// A program on this machine.
    Program(Program),
}

/// What an account says about its authorization server, and about us there.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// Who says where the authorization server is.
    pub site: Site,
    /// The client that we are.
    pub client: Client,
    /// How tokens are obtained there.
    pub grant: Grant,
    /// What is asked for, and for whom. What is empty, a Flyte endpoint says.
    pub target: Target,
    /// What is added to the requests. It is no part of the fingerprint: it asks for the same tokens in another way.
    pub extra: ExtraParameters,
    /// How a person logs in where that happens in a browser.
    pub browser: BrowserLogin,
    /// What the issuer does with a refresh token that is used. It is no part of the fingerprint.
    pub rotation: Profile,
    /// Whether plain http to loopback is acceptable.
    pub loopback: LoopbackHttp,
    /// Whether the refresh token is to be bound to a key. It is no part of the fingerprint: a token stays what it is.
    pub dpop: DpopPolicy,
    /// How it is reached. It is no part of the fingerprint: the tokens are the same by whatever way they came, and what
    /// keeps them from another server is its name.
    pub transport: Transport,
}

/// Who says where the authorization server is: a closed set, matched in full.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one per account")]
pub enum Site {
    /// Its own metadata, or the settings.
    Issuer(Server),
    /// A Flyte endpoint, which says more besides.
    Flyte(Endpoint),
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issuer(server) => server.fmt(f),
            Self::Flyte(endpoint) => endpoint.fmt(f),
        }
    }
}

/// What accounts obtain tokens with, whichever they are.
#[derive(Clone, Debug)]
pub struct Means {
    /// The way to other hosts, before the settings of an account.
    pub http: Http,
    /// The clocks.
    pub clock: Clock,
    /// What programs get.
    pub environment: Environment,
    /// What Flyte endpoints say, for all accounts together.
    pub flyte: Discoveries,
    /// What issuers have shown of how they bind tokens to keys.
    pub lessons: Lessons,
}

/// How tokens are obtained from an issuer: a closed set, matched in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// RFC 6749 §4.1 with RFC 7636.
    AuthorizationCode,
    /// RFC 8628.
    DeviceCode,
    /// RFC 6749 §4.4.
    ClientCredentials,
}

/// What stored tokens are bound to: server, client, grant and target, or the command line. Tokens that were obtained
/// under another fingerprint are not used, so that no token meant for one server gets to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(String);

impl Account {
    /// Returns the grant's name on the wire.
    pub fn grant(&self) -> GrantKind {
        match &self.provider {
            Provider::Issuer(issuer) => match issuer.grant {
                Grant::AuthorizationCode => GrantKind::AuthorizationCode,
                Grant::DeviceCode => GrantKind::DeviceCode,
                Grant::ClientCredentials => GrantKind::ClientCredentials,
            },
            Provider::Program(_) => GrantKind::Command,
        }
    }

    /// Returns, for people, who gives the tokens. A program's arguments are left out: they may hold a secret.
    pub fn issuer(&self) -> String {
        match &self.provider {
            Provider::Issuer(issuer) => issuer.site.to_string(),
            Provider::Program(program) => program.name().to_owned(),
        }
    }

    /// Returns the Flyte endpoint that says where it logs in, if that is what says it.
    pub(crate) fn flyte(&self) -> Option<&Endpoint> {
        match &self.provider {
            Provider::Issuer(IssuerSettings { site: Site::Flyte(endpoint), .. }) => Some(endpoint),
            Provider::Issuer(IssuerSettings { site: Site::Issuer(_), .. }) | Provider::Program(_) => None,
        }
    }

    /// Returns what its own tokens are asked for, as far as the configuration says.
    pub fn target(&self) -> Target {
        match &self.provider {
            Provider::Issuer(issuer) => issuer.target.clone(),
            Provider::Program(_) => Target::default(),
        }
    }

    /// Returns what its issuer does with a refresh token that is used, as far as the configuration says.
    pub fn rotation(&self) -> Profile {
        match &self.provider {
            Provider::Issuer(issuer) => issuer.rotation,
            Provider::Program(_) => Profile::Unknown,
        }
    }

    /// Returns what this account's tokens are bound to.
    pub fn fingerprint(&self) -> Fingerprint {
        let parts = match &self.provider {
            Provider::Issuer(issuer) => issuer.identity(),
            // No server is called like this.
            Provider::Program(program) => {
                ["command".to_owned()].iter().chain(&program.argv).cloned().collect()
            }
        };
        let mut hash = Sha256::new();
        for part in parts {
            // No part can hold a NUL, so no two accounts run together into the same text.
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        Fingerprint(hex(&hash.finalize()))
    }

    /// Returns what obtains this account's tokens.
    pub fn source(&self, means: &Means) -> Arc<dyn TokenSource> {
        match &self.provider {
            Provider::Issuer(issuer) => issuer.source(&self.name, means),
            Provider::Program(program) => Arc::new(Command {
                program: program.clone(),
                clock: means.clock.clone(),
                environment: means.environment.clone(),
            }),
        }
    }

    /// Returns, in words, the settings that weaken this account's protection.
    pub fn warnings(&self) -> Vec<String> {
        match &self.provider {
            Provider::Issuer(issuer) => issuer.warnings(),
            Provider::Program(_) => Vec::new(),
        }
    }
}

impl IssuerSettings {
    /// Returns what makes its tokens other tokens.
    fn identity(&self) -> Vec<String> {
        let kind = match self.grant {
            Grant::AuthorizationCode => "authorization_code",
            Grant::DeviceCode => "device_code",
            Grant::ClientCredentials => "client_credentials",
        };
        let client_id = match &self.client.id {
            ClientId::Given(id) => id.as_str(),
            // Whatever it names: its words may change, and the tokens stay good.
            ClientId::FromEndpoint => "",
        };
        let Target { scope, audience, resources } = &self.target;
        let parts = [
            self.site.to_string(),
            client_id.to_owned(),
            kind.to_owned(),
            scope.to_string(),
            audience.clone().unwrap_or_default(),
        ];
        parts.into_iter().chain(resources.iter().cloned()).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let loopback = match self.loopback {
            LoopbackHttp::Allowed => Some("plain http to loopback is allowed (tls.allow_http_loopback)"),
            LoopbackHttp::Refused => None,
        };
        let trust = match self.transport.trust {
            Trust::Anyone => Some("certificates are not checked (tls.insecure_skip_verify)"),
            Trust::System | Trust::AlsoFile(_) => None,
        };
        let plaintext = match &self.site {
            Site::Flyte(endpoint) => match endpoint.plaintext() {
                Plaintext::Wanted => Some(
                    "the Flyte endpoint is asked without TLS: whoever stands between can send the login elsewhere (insecure)",
                ),
                Plaintext::Refused => None,
            },
            Site::Issuer(_) => None,
        };
        loopback.into_iter().chain(trust).chain(plaintext).map(str::to_owned).collect()
    }

    fn source(&self, account: &AccountName, means: &Means) -> Arc<dyn TokenSource> {
        let http = means.http.under(&self.transport);
        let site = match &self.site {
            Site::Issuer(server) => issuer::Site::Issuer(Discovery::new(server.clone(), http.clone())),
            Site::Flyte(endpoint) => issuer::Site::Flyte(means.flyte.of(endpoint, &http, &self.transport)),
        };
        let known_as = iter::once(account.to_string()).chain(self.identity()).collect();
        let issuer = Arc::new(Issuer {
            site,
            http,
            clock: means.clock.clone(),
            client: self.client.clone(),
            target: self.target.clone(),
            extra: self.extra.clone(),
            loopback: self.loopback,
            environment: means.environment.clone(),
            binding: Binding::new(self.dpop, means.lessons.of(known_as)),
        });
        match self.grant {
            Grant::AuthorizationCode => Arc::new(AuthorizationCode { issuer, browser: self.browser.clone() }),
            Grant::DeviceCode => Arc::new(DeviceCode(issuer)),
            Grant::ClientCredentials => Arc::new(ClientCredentials(issuer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::grant::{Attendance, Wanted};
    use crate::oauth::scripted_server::{ScriptedServer, json};
    use crate::oauth::{ClientAuthentication, ClientSecret};
    use crate::token::Scope;

    fn means() -> Means {
        let clock = Clock::system();
        Means {
            http: Http::new().unwrap(),
            environment: Environment::from_own([]),
            flyte: Discoveries::new(std::path::Path::new("/dev/null"), clock.clone()),
            lessons: Lessons::default(),
            clock,
        }
    }

    #[tokio::test]
    async fn an_account_finds_its_issuer_and_obtains_tokens() {
        let server = ScriptedServer::answering([json(404, "")]).await;
        let issuer = server.issuer();
        let metadata = format!(r#"{{"issuer":"{issuer}","token_endpoint":"{issuer}/token"}}"#);
        let tokens = r#"{"access_token":"AT","token_type":"bearer","expires_in":60}"#;
        server.then([json(404, ""), json(200, &metadata), json(200, tokens)]);
        let settings = IssuerSettings {
            site: Site::Issuer(Server::Discovered { issuer, loopback: LoopbackHttp::Allowed }),
            client: Client {
                id: ClientId::Given("ci".to_owned()),
                authentication: ClientAuthentication::SecretBasic(ClientSecret::Value("s".into())),
            },
            grant: Grant::ClientCredentials,
            target: Target {
                scope: Scope::parse("all"),
                audience: Some("aud".to_owned()),
                ..Target::default()
            },
            extra: ExtraParameters::default(),
            browser: BrowserLogin::default(),
            rotation: Profile::Unknown,
            loopback: LoopbackHttp::Allowed,
            dpop: DpopPolicy::Auto,
            transport: Transport::default(),
        };
        let account = Account {
            name: "ci".parse().unwrap(),
            provider: Provider::Issuer(settings),
            policy: Policy::default(),
        };
        let source = account.source(&means());
        assert_eq!(source.attendance(), Attendance::Unattended);
        for _ in 0..2 {
            let tokens = source.renew(None, Wanted::Own).await.unwrap().tokens().await.unwrap();
            assert_eq!(tokens.access.secret().expose_secret(), "AT");
        }
        // Two for the metadata, once; then one for each renewal.
        let requests = server.requests();
        assert_eq!(requests.len(), 4);
        assert!(requests[3].contains("\r\nauthorization: Basic Y2k6cw==\r\n"), "{}", requests[3]);
        assert!(requests[3].ends_with("\r\n\r\ngrant_type=client_credentials&scope=all&audience=aud"));
    }

    #[test]
    fn a_fingerprint_is_the_same_in_every_version() {
        let settings = IssuerSettings {
            site: Site::Issuer(Server::Discovered {
                issuer: "https://i".to_owned(),
                loopback: LoopbackHttp::Refused,
            }),
            client: Client {
                id: ClientId::Given("cli".to_owned()),
                authentication: ClientAuthentication::None,
            },
            grant: Grant::DeviceCode,
            target: Target { scope: Scope::parse("all"), ..Target::default() },
            extra: ExtraParameters::default(),
            browser: BrowserLogin::default(),
            rotation: Profile::Unknown,
            loopback: LoopbackHttp::Refused,
            dpop: DpopPolicy::Auto,
            transport: Transport::default(),
        };
        let account = Account {
            name: "a".parse().unwrap(),
            provider: Provider::Issuer(settings),
            policy: Policy::default(),
        };
        // By sha256sum. Another one would have everybody log in again.
        let expected = "234b8870747b4d8762fcd764912e1d6003eb768ac7966c41b8df2619e0b0760b";
        assert_eq!(account.fingerprint(), Fingerprint(expected.to_owned()));
        let Provider::Issuer(settings) = account.provider else { panic!("an issuer") };
        // How the next login binds its refresh token is no reason to lose this one.
        for dpop in [DpopPolicy::Off, DpopPolicy::Require] {
            let settings = IssuerSettings { dpop, ..settings.clone() };
            let account = Account {
                name: "a".parse().unwrap(),
                provider: Provider::Issuer(settings),
                policy: Policy::default(),
            };
            assert_eq!(account.fingerprint(), Fingerprint(expected.to_owned()));
        }
        let endpoint = Endpoint::parse("https://flyte", Plaintext::Refused).unwrap();
        let client = Client { id: ClientId::FromEndpoint, ..settings.client };
        let target = Target::default();
        let settings = IssuerSettings { site: Site::Flyte(endpoint), client, target, ..settings };
        let account = Account {
            name: "a".parse().unwrap(),
            provider: Provider::Issuer(settings),
            policy: Policy::default(),
        };
        // Of dns:///flyte, what it says being no part of it: its words may change, and the tokens stay good.
        let expected = "1341b1d601085100f2a9c86ffa2dd55e1e8bfbca3c449451691779c6b276cd2f";
        assert_eq!(account.fingerprint(), Fingerprint(expected.to_owned()));
    }

    #[test]
    fn what_a_program_printed_is_bound_to_its_whole_command_line() {
        let account = |argv: &[&str], seconds| Account {
            name: "iap".parse().unwrap(),
            provider: Provider::Program(Program {
                argv: argv.iter().map(ToString::to_string).collect(),
                assume_lifetime: Duration::from_secs(seconds),
            }),
            policy: Policy::default(),
        };
        let one = account(&["gcloud", "CANARY", "x"], 60);
        assert_eq!(one.fingerprint(), account(&["gcloud", "CANARY", "x"], 90).fingerprint());
        for other in [&["gcloud", "CANARY", "y"][..], &["gcloud", "CANARYx"], &["gcloud", "CANARY"]] {
            assert_ne!(one.fingerprint(), account(other, 60).fingerprint(), "{other:?}");
        }
        assert_eq!((one.grant(), one.issuer().as_str()), (GrantKind::Command, "gcloud"));
    }
}
