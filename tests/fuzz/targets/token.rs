//! The answer to a renewal. Only a well-formed `invalid_grant` ends a login; a refresh token in a well-formed answer is
//! never lost, whatever is wrong with the rest of it.

#![no_main]

use std::time::Duration;

use fuzz_targets::{Members, assert_harmless, response};
use keyfob_daemon::fuzzing::issuer::{Renewed, Response, renewed};
use keyfob_daemon::token::failure::Failure;
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;

/// What RFC 6749 §5.1 and OpenID Connect Core name, and no member may come twice.
const MEMBERS: [&str; 6] = ["access_token", "token_type", "expires_in", "refresh_token", "id_token", "scope"];

fuzz_target!(|data: &[u8]| {
    let (status, headers, body) = response(data);
    let Some(outcome) = renewed(&Response { status, headers: &headers, body }) else { return };
    let members = Members::of(body).filter(|_| std::str::from_utf8(body).is_ok());
    let given = members
        .as_ref()
        .filter(|members| (200..300).contains(&status) && MEMBERS.iter().all(|name| members.count(name) <= 1))
        .and_then(|members| members.text("refresh_token"))
        .filter(|token| !token.is_empty());
    let kept = match outcome {
        Renewed::Tokens(tokens) => {
            assert!((200..300).contains(&status));
            let token = tokens.access.secret().expose_secret();
            assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'));
            let life = tokens.access.lifetime();
            assert!(life.is_none_or(|life| life <= Duration::from_secs(10 * 365 * 24 * 3600)), "{life:?}");
            let comes_once =
                body.windows(token.len()).filter(|window| *window == token.as_bytes()).count() == 1;
            assert!(!format!("{tokens:?}").contains(token) || token.len() < 20 || !comes_once);
            tokens.refresh
        }
        Renewed::Failed { failure, successor } => {
            assert_harmless(&failure.to_string());
            if let Failure::Refused { .. } | Failure::LoginRequired = failure {
                assert!((400..500).contains(&status) && ![404, 405, 408, 429].contains(&status), "{status}");
                let error = members.as_ref().and_then(|members| members.text("error"));
                assert_eq!(error.as_deref(), Some("invalid_grant"), "this ended a login");
            }
            let wait = failure.retry_after();
            assert!(wait.is_none_or(|wait| (1..=3600).contains(&wait.as_secs())), "{wait:?}");
            successor.map(|token| *token)
        }
    };
    if let Some(given) = given {
        let kept = kept.expect("a refresh token got lost");
        assert_eq!(kept.secret.expose_secret(), given);
        assert_eq!(kept.origin, "https://login.example.com");
    } else {
        assert!(kept.is_none(), "a refresh token that nobody gave");
    }
});
