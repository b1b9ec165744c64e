//! What a person should do to log in, in words.
//!
//! The thing to get wrong: a stranger can send somebody a code of their own and be signed in as them. So the text says
//! which machine is signed in to what, and the code is shown also where the link has it already (RFC 8628 §3.3.1, §5.4).

use jiff::Timestamp;
use keyfob_protocol::account::AccountName;
use keyfob_protocol::login::LoginPrompt;

use crate::display;
use crate::login::NotSignedIn;

/// How a page for a browser on this machine is visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// A browser was started.
    Opened,
    /// The person opens it themselves.
    Here,
    /// The person sits in front of another machine.
    FromElsewhere,
    /// The person brings the browser's last address by hand.
    Paste,
}

/// What the words are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    /// The account that is signed in to.
    pub(crate) account: &'a AccountName,
    /// The machine that is signed in.
    pub(crate) machine: &'a str,
    /// How its page is visited, if the prompt has one for this machine.
    pub(crate) visit: Visit,
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
            Ok(match occasion.visit {
                Visit::Opened => format!(
                    "Your browser opens a page to sign in to {account}. If it does not, open it yourself:\n\n    \
                     {page}\n\nIt is good for {time}.\n\n"
                ),
                Visit::Here => format!(
                    "To sign in to {account}, open this page in a browser on this machine ({machine}):\n\n    \
                     {page}\n\nIt is good for {time}. Is there no browser on {machine}? Press Ctrl-C, and run one of:\n\
                     {ways}\n",
                    ways = other_ways(account)
                ),
                Visit::FromElsewhere => format!(
                    "{forwarding}To sign in to {account}, open this page in a browser on {machine}{there}:\n\n    \
                     {page}\n\nIt is good for {time}. Where that does not work, press Ctrl-C, and run one of:\n\
                     {ways}\n",
                    forwarding = forwarding(page, &machine),
                    there = if redirect_host(page).is_some() { ", or then on your own machine" } else { "" },
                    ways = other_ways(account)
                ),
                Visit::Paste => format!(
                    "To sign in to {account} on {machine}, open this page in any browser:\n\n    {page}\n\n\
                     When you have signed in, the browser goes to an address on its own machine and says that it\n\
                     cannot be reached. Copy that whole address from the address bar and paste it here.\n\
                     The page is good for {time}.\n\naddress: "
                ),
            })
        }
        LoginPrompt::Unknown => Err(NotSignedIn::UnknownPrompt),
    }
}

/// Returns the other ways to log in, as commands.
fn other_ways(account: &AccountName) -> String {
    format!(
        "    keyfob login {account} --paste     use a browser anywhere and paste its last address here\n    \
         keyfob login {account} --device    enter a code instead, if the issuer allows it\n"
    )
}

/// Returns how the port that the browser comes back to is reached from another machine.
fn forwarding(page: &str, machine: &str) -> String {
    let Some((host, port)) = redirect_host(page) else {
        return String::new();
    };
    format!(
        "On your own machine, so that the browser there can come back to this one, run:\n\n    \
         ssh -L {port}:{host}:{port} {machine}\n\n"
    )
}

/// Returns the host and the port of the redirect URI that is in a page's address, if they are on loopback.
fn redirect_host(page: &str) -> Option<(&'static str, u16)> {
    let (_, query) = page.split_once('?')?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix("redirect_uri="))?;
    let value = value.replace("%3A", ":").replace("%2F", "/").replace("%5B", "[").replace("%5D", "]");
    let rest = value.strip_prefix("http://")?;
    let (host, rest) = ["127.0.0.1", "[::1]", "localhost"]
        .into_iter()
        .find_map(|host| Some((host, rest.strip_prefix(host)?.strip_prefix(':')?)))?;
    let port = rest.split('/').next()?.parse().ok()?;
    Some((host, port))
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
        words_for(prompt, drawing, Visit::Here)
    }

    fn words_for(prompt: &LoginPrompt, drawing: Option<&str>, visit: Visit) -> Result<String, NotSignedIn> {
        let account = "prod".parse().unwrap();
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let expires_at = "2026-11-21T12:15:00Z".parse().unwrap();
        let occasion = Occasion { account: &account, machine: "lap\x1btop", visit, expires_at, now };
        words(prompt, occasion, drawing)
    }

    #[test]
    fn a_code_is_shown_with_its_page_8628_7_8628_8() {
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
    fn the_page_and_the_code_are_shown_also_beside_a_link_that_holds_both_8628_7_8628_8() {
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
        assert_eq!(words_of(&prompt, None), words_of(&enter_code(None), None));
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
            "It is good for 15 min. Is there no browser on laptop? Press Ctrl-C, and run one of:",
            "    keyfob login prod --paste     use a browser anywhere and paste its last address here",
            "    keyfob login prod --device    enter a code instead, if the issuer allows it",
            "",
            "",
        ]
        .join("\n");
        assert_eq!(words_of(&prompt, None).unwrap(), expected);
        assert_eq!(link_to_scan(&prompt), None);
    }

    #[test]
    fn over_ssh_the_port_to_forward_is_named() {
        let url = "https://i.example/authorize?client_id=c&redirect_uri=http%3A%2F%2F127.0.0.1%3A8400%2Fcallback&state=x";
        let prompt = LoginPrompt::Visit { url: url.to_owned() };
        let words = words_for(&prompt, None, Visit::FromElsewhere).unwrap();
        assert!(words.contains("\n    ssh -L 8400:127.0.0.1:8400 laptop\n"), "{words}");
        assert!(
            words.contains("keyfob login prod --paste") && words.contains("keyfob login prod --device"),
            "{words}"
        );
        assert!(words.contains(&format!("\n    {url}\n")), "{words}");
    }

    #[test]
    fn only_a_loopback_port_is_forwarded() {
        let cases = [
            (
                "https://i/a?redirect_uri=http%3A%2F%2Flocalhost%3A53593%2Fcallback",
                Some(("localhost", 53593)),
            ),
            ("https://i/a?x=y&redirect_uri=http://[::1]:1/", Some(("[::1]", 1))),
            ("https://i/a?redirect_uri=http%3A%2F%2F127.0.0.1%3A4444", Some(("127.0.0.1", 4444))),
            ("https://i/a?redirect_uri=http%3A%2F%2F127.0.0.1.evil.example%3A1", None),
            ("https://i/a?redirect_uri=http%3A%2F%2F127.0.0.1%3A1;id", None),
            ("https://i/a?request_uri=urn:x", None),
            ("https://i/a", None),
        ];
        for (page, host) in cases {
            assert_eq!(redirect_host(page), host, "{page}");
        }
    }

    #[test]
    fn a_page_that_is_opened_is_shown_all_the_same() {
        let prompt = LoginPrompt::Visit { url: "https://i.example/authorize?state=x".to_owned() };
        for visit in [Visit::Opened, Visit::Here, Visit::FromElsewhere, Visit::Paste] {
            let words = words_for(&prompt, None, visit).unwrap();
            assert!(words.contains("\n    https://i.example/authorize?state=x\n"), "{words}");
        }
    }

    #[test]
    fn a_page_that_is_not_safe_is_not_shown() {
        let prompt = LoginPrompt::Visit { url: "http://evil.example/\x1b[2J".to_owned() };
        assert!(matches!(words_of(&prompt, None), Err(NotSignedIn::UnsafePage)));
    }
}
