//! A person in front of a terminal and of a fake issuer's page, who reads a user code in the one, types it into the
//! other, and approves or denies (RFC 8628 §3.3).

use crate::http;

/// Reads the page and the user code from what a terminal shows; nothing while they are not there.
pub fn read(terminal: &str) -> Option<(String, String)> {
    let is_code = |word: &&str| {
        word.len() == 9
            && word
                .bytes()
                .enumerate()
                .all(|(at, byte)| if at == 4 { byte == b'-' } else { byte.is_ascii_uppercase() })
    };
    let page = terminal.split_whitespace().find(|word| word.starts_with("http://"))?;
    let code = terminal.split_whitespace().find(is_code)?;
    Some((page.to_owned(), code.to_owned()))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_on_only_when_the_code_is_there() {
        let page = "open this page:\n\n    http://127.0.0.1:1/device\n";
        assert_eq!(read(page), None);
        let code = format!("{page}\nand enter the code:\n\n    WDJB-MJHT\n");
        assert_eq!(read(&code), Some(("http://127.0.0.1:1/device".to_owned(), "WDJB-MJHT".to_owned())));
    }
}
