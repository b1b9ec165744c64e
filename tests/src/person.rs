//! A person at a fake issuer's page, who types a user code and approves or denies (RFC 8628 §3.3).

use crate::http;

/// Approves a user code at a verification page, which may have the code in its URL already.
///
/// # Panics
/// Panics where the page does not take the code.
#[track_caller]
pub fn approve(verification_uri: &str, user_code: &str) {
    decide(verification_uri, user_code, "approve");
}

/// Denies a user code at a verification page.
///
/// # Panics
/// Panics where the page does not take the code.
#[track_caller]
pub fn deny(verification_uri: &str, user_code: &str) {
    decide(verification_uri, user_code, "deny");
}

#[track_caller]
fn decide(verification_uri: &str, user_code: &str, action: &str) {
    let page = http::get(verification_uri).expect("the verification page answers");
    assert!(page.body.contains("<form"), "no form on {verification_uri}: {page:?}");
    let action_url = verification_uri.split('?').next().expect("a split has a first part");
    let done = http::post_form(action_url, &[], &[("user_code", user_code), ("action", action)])
        .expect("the verification page takes a code");
    assert_eq!(done.status, 200, "{user_code} was not taken: {done:?}");
}
