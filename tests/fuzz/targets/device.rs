//! The answer to a device authorization. Whatever a person is shown can be shown, and leads to https.

#![no_main]

use std::time::Duration;

use fuzz_targets::{assert_harmless, response};
use keyfob_daemon::fuzzing::issuer::{Response, device};
use keyfob_daemon::oauth::LoopbackHttp;
use keyfob_daemon::token::failure::Failure;
use libfuzzer_sys::fuzz_target;
use url::Url;

const DAY: Duration = Duration::from_secs(24 * 3600);

fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let loopback = if first == b'l' { LoopbackHttp::Allowed } else { LoopbackHttp::Refused };
    let (status, headers, body) = response(data);
    match device(&Response { status, headers: &headers, body }, loopback) {
        None => {}
        Some(Err(failure)) => {
            assert_harmless(&failure.to_string());
            assert!(
                !matches!(failure, Failure::Refused { .. } | Failure::LoginRequired),
                "there was no login"
            );
        }
        Some(Ok(codes)) => {
            assert!((200..300).contains(&status));
            assert!(!codes.device_code.is_empty() && !codes.user_code.is_empty());
            assert!(
                codes.user_code.len() <= 64
                    && codes.user_code.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            );
            assert!((Duration::from_secs(1)..=DAY).contains(&codes.interval) && codes.life <= DAY);
            for page in &codes.pages {
                assert!(page.is_ascii() && page.len() <= 2048);
                assert_harmless(page);
                let url = Url::parse(page).expect("a page has an address");
                assert!(url.username().is_empty() && url.password().is_none(), "{page}");
                let is_loopback = loopback == LoopbackHttp::Allowed
                    && url.host_str().is_some_and(|host| {
                        host == "localhost" || host == "[::1]" || host.starts_with("127.")
                    });
                assert!(url.scheme() == "https" || (url.scheme() == "http" && is_loopback), "{page}");
            }
        }
    }
});
