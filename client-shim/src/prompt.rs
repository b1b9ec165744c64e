//! What a person should do to log in, in words.
//!
//! The thing to get wrong: a stranger can send somebody a code of their own and be signed in as them. So the text says
//! which machine is signed in to what, and the code is shown also where the link has it already (RFC 8628 §3.3.1, §5.4).

use jiff::Timestamp;
use keyfob_protocol::account::AccountName;
use keyfob_protocol::login::LoginPrompt;

use crate::display;
use crate::login::NotSignedIn;

/// What the words are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    /// The account that is signed in to.
    pub(crate) account: &'a AccountName,
    /// The machine that is signed in.
    pub(crate) machine: &'a str,
    /// When the issuer stops waiting.
    pub(crate) expires_at: Timestamp,
    /// The time.
    pub(crate) now: Timestamp,
}

/// Returns the link that is good for scanning: a page on any device, with the code in it if there is such a one.
pub(crate) fn link_to_scan(prompt: &LoginPrompt) -> Option<&str> {
    match prompt {
        LoginPrompt::EnterCode { verification_uri, verification_uri_complete, .. } => {
            verification_uri_complete
                .as_deref()
                .and_then(display::link)
                .or_else(|| display::link(verification_uri))
        }
        LoginPrompt::Visit { .. } | LoginPrompt::Unknown => None,
    }
}

/// Returns the words, below a drawing of the link if there is one. With a drawing they are few, so that a terminal of
/// 24 rows shows the code and its page beside it.
pub(crate) fn words(
    prompt: &LoginPrompt,
    occasion: Occasion<'_>,
    drawing: Option<&str>,
) -> Result<String, NotSignedIn> {
    let Occasion { account, expires_at, now, .. } = occasion;
    let machine = display::text(occasion.machine);
    let time = display::until(expires_at, now).unwrap_or_else(|| "no time".to_owned());
    match prompt {
        LoginPrompt::EnterCode { verification_uri, user_code, .. } => {
            let page = display::link(verification_uri).ok_or(NotSignedIn::UnsafePage)?;
            let code = display::code(user_code);
            Ok(match drawing {
                None => format!(
                    "To sign in to {account} on {machine}, open this page on any device:\n\n    {page}\n\n\
                     and enter the code there:\n\n    {code}\n\n\
                     The code is good for {time}. Enter it only if you asked for it yourself.\n\n"
                ),
                Some(drawing) => format!(
                    "{drawing}\
                     To sign in to {account} on {machine}, scan this and compare the code, or open:\n    {page}\n\
                     Code: {code} (good for {time}; enter it only if you asked for it yourself)\n"
                ),
            })
        }
        LoginPrompt::Visit { url } => {
            let page = display::link(url).ok_or(NotSignedIn::UnsafePage)?;
            Ok(format!(
                "To sign in to {account}, open this page in a browser on this machine ({machine}):\n\n    {page}\n\n\
                 It is good for {time}.\n\n"
            ))
        }
        LoginPrompt::Unknown => Err(NotSignedIn::UnknownPrompt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter_code(complete: Option<&str>) -> LoginPrompt {
        LoginPrompt::EnterCode {
            verification_uri: "https://login.example.com/device".to_owned(),
            verification_uri_complete: complete.map(str::to_owned),
            user_code: "WDJB-MJHT".to_owned(),
        }
    }

    fn words_of(prompt: &LoginPrompt, drawing: Option<&str>) -> Result<String, NotSignedIn> {
        let account = "prod".parse().unwrap();
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let expires_at = "2026-11-21T12:15:00Z".parse().unwrap();
        words(prompt, Occasion { account: &account, machine: "lap\x1btop", expires_at, now }, drawing)
    }

    #[test]
    fn a_code_is_shown_with_its_page() {
        let expected = [
            "To sign in to prod on laptop, open this page on any device:",
            "",
            "    https://login.example.com/device",
            "",
            "and enter the code there:",
            "",
            "    WDJB-MJHT",
            "",
            "The code is good for 15 min. Enter it only if you asked for it yourself.",
            "",
            "",
        ]
        .join("\n");
        assert_eq!(words_of(&enter_code(None), None).unwrap(), expected);
    }

    #[test]
    fn the_page_and_the_code_are_shown_also_beside_a_link_that_holds_both() {
        let prompt = enter_code(Some("https://login.example.com/device?user_code=WDJB-MJHT"));
        assert_eq!(link_to_scan(&prompt), Some("https://login.example.com/device?user_code=WDJB-MJHT"));
        let expected = [
            "##",
            "##",
            "To sign in to prod on laptop, scan this and compare the code, or open:",
            "    https://login.example.com/device",
            "Code: WDJB-MJHT (good for 15 min; enter it only if you asked for it yourself)",
            "",
        ]
        .join("\n");
        assert_eq!(words_of(&prompt, Some("##\n##\n")).unwrap(), expected);
    }

    #[test]
    fn a_link_that_is_not_safe_is_not_scanned() {
        let prompt = enter_code(Some("http://evil.example/device"));
        assert_eq!(link_to_scan(&prompt), Some("https://login.example.com/device"));
    }

    #[test]
    fn a_page_for_this_machine_says_so() {
        let prompt = LoginPrompt::Visit { url: "http://localhost:8080/authorize?state=x".to_owned() };
        let expected = [
            "To sign in to prod, open this page in a browser on this machine (laptop):",
            "",
            "    http://localhost:8080/authorize?state=x",
            "",
            "It is good for 15 min.",
            "",
            "",
        ]
        .join("\n");
        assert_eq!(words_of(&prompt, None).unwrap(), expected);
        assert_eq!(link_to_scan(&prompt), None);
    }

    #[test]
    fn a_page_that_is_not_safe_is_not_shown() {
        let prompt = LoginPrompt::Visit { url: "http://evil.example/\x1b[2J".to_owned() };
        assert!(matches!(words_of(&prompt, None), Err(NotSignedIn::UnsafePage)));
    }
}
