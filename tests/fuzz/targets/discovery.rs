//! What an issuer says about itself. Nothing of another issuer is used, and no secret is sent but over https.

#![no_main]

use fuzz_targets::{Members, assert_harmless, response};
use keyfob_daemon::fuzzing::issuer::{ISSUER, Response, metadata};
use keyfob_daemon::oauth::LoopbackHttp;
use keyfob_daemon::token::failure::Failure;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let loopback = if first == b'l' { LoopbackHttp::Allowed } else { LoopbackHttp::Refused };
    let (status, headers, body) = response(data);
    match metadata(&Response { status, headers: &headers, body }, loopback) {
        None => {}
        Some(Ok(None)) => assert!(status == 404 || status == 410, "{status} led on to the next address"),
        Some(Err(failure)) => {
            assert_harmless(&failure.to_string());
            assert!(
                !matches!(failure, Failure::Refused { .. } | Failure::LoginRequired),
                "there was no login"
            );
        }
        Some(Ok(Some(endpoints))) => {
            assert!((200..300).contains(&status), "{status}");
            let members = Members::of(body).expect("it was read as an object");
            assert_eq!(members.text("issuer").as_deref(), Some(ISSUER), "it is another issuer's");
            for endpoint in endpoints {
                let url = endpoint.url();
                let is_loopback = loopback == LoopbackHttp::Allowed
                    && url.host_str().is_some_and(|host| {
                        host == "localhost" || host == "[::1]" || host.starts_with("127.")
                    });
                assert!(url.scheme() == "https" || (url.scheme() == "http" && is_loopback), "{url}");
                assert!(
                    url.fragment().is_none() && url.username().is_empty() && url.password().is_none(),
                    "{url}"
                );
                assert_harmless(url.as_str());
            }
        }
    }
});
