//! The arguments of `keyfob lock` and `keyfob unlock`.
//!
//! The thing to get wrong: a passphrase is never among them, for every process can read them there.

use crate::arguments::mistake::Mistake;
use crate::arguments::{Known, NO_AUTOSTART, Parsed, Value, Verb};

/// Where a passphrase comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A person types it.
    Terminal,
    /// A line of standard input.
    Input,
}

const PASSPHRASE: Known = Known { name: "--passphrase", value: Value::None };
const PASSPHRASE_STDIN: Known = Known { name: "--passphrase-stdin", value: Value::None };

/// What can stand after `lock`.
pub(super) const OPTIONS: &[Known] = &[PASSPHRASE, PASSPHRASE_STDIN, NO_AUTOSTART];

/// What can stand after `unlock`.
pub(super) const UNLOCK_OPTIONS: &[Known] = &[PASSPHRASE_STDIN];

/// Returns where the passphrase comes from that unlocking is to take, if it is to take one.
pub(super) fn passphrase_to_set(parsed: &Parsed) -> Result<Option<Source>, Mistake> {
    match (parsed.has(PASSPHRASE), parsed.has(PASSPHRASE_STDIN)) {
        (true, true) => Err(Mistake::Contradiction {
            one: PASSPHRASE.name,
            other: PASSPHRASE_STDIN.name,
            topic: Verb::Lock.name(),
        }),
        (true, false) => Ok(Some(Source::Terminal)),
        (false, true) => Ok(Some(Source::Input)),
        (false, false) => Ok(None),
    }
}

/// Returns where the passphrase comes from, where unlocking takes one.
pub(super) fn passphrase_to_give(parsed: &Parsed) -> Source {
    if parsed.has(PASSPHRASE_STDIN) { Source::Input } else { Source::Terminal }
}
