//! The arguments of `keyfob login`: in which way a person logs in, and what they are shown.

use std::ffi::OsStr;

use crate::arguments::mistake::Mistake;
use crate::arguments::{Account, Known, NO_AUTOSTART, Parsed, Value, Verb};

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoginOptions {
    /// To what.
    pub(crate) account: Account,
    /// In which way.
    pub(crate) way: Way,
    /// What becomes of a page for a browser on this machine.
    pub(crate) opening: Opening,
    /// What becomes of a page for any device.
    pub(crate) qr_code: QrCode,
}

/// In which way a person logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The account's.
    Configured,
    /// The account's, in a browser on another machine: its last address is brought by hand.
    Paste,
    /// By a code that is entered on any device.
    DeviceCode,
}

/// Whether a page is opened in a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// In a desktop session.
    OnDesktop,
    /// Wherever it may be.
    Always,
    /// Not by us.
    Never,
}

/// Whether a QR code is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QrCode {
    /// Where it fits.
    IfItFits,
    /// Not at all.
    Never,
}

const NO_QR: Known = Known { name: "--no-qr", value: Value::None };
const BROWSER: Known = Known { name: "--browser", value: Value::None };
const NO_BROWSER: Known = Known { name: "--no-browser", value: Value::None };
const PASTE: Known = Known { name: "--paste", value: Value::None };
const DEVICE: Known = Known { name: "--device", value: Value::None };

/// What can stand there beside an account.
pub(super) const OPTIONS: &[Known] = &[BROWSER, NO_BROWSER, PASTE, DEVICE, NO_QR, NO_AUTOSTART];

impl LoginOptions {
    /// Gives the arguments their meaning. `account` is the value of `KEYFOB_ACCOUNT`.
    pub(super) fn read(parsed: &mut Parsed, account: Option<&OsStr>) -> Result<Self, Mistake> {
        for (one, other) in [(PASTE, DEVICE), (BROWSER, NO_BROWSER), (BROWSER, PASTE)] {
            if parsed.has(one) && parsed.has(other) {
                return Err(Mistake::Contradiction {
                    one: one.name,
                    other: other.name,
                    topic: Verb::Login.name(),
                });
            }
        }
        let way = match (parsed.has(PASTE), parsed.has(DEVICE)) {
            (true, _) => Way::Paste,
            (false, true) => Way::DeviceCode,
            (false, false) => Way::Configured,
        };
        let opening = match (parsed.has(BROWSER), parsed.has(NO_BROWSER) || parsed.has(PASTE)) {
            (true, _) => Opening::Always,
            (false, true) => Opening::Never,
            (false, false) => Opening::OnDesktop,
        };
        let qr_code = if parsed.has(NO_QR) { QrCode::Never } else { QrCode::IfItFits };
        Ok(Self { account: parsed.account(account)?, way, opening, qr_code })
    }
}
