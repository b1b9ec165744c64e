//! `rotation` and `rotation_grace`: what the issuer does with a refresh token that is used.

use std::time::Duration;

use serde::Deserialize;

use crate::config::report::{Reported, Wrong};
use crate::config::table::Table;
use crate::token::rotation::Profile;

pub(super) const KEYS: [&str; 2] = ["rotation", "rotation_grace"];

/// A longer grace than an hour would be none.
const LONGEST_GRACE: i64 = 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    None,
    Grace,
    Strict,
}

/// Reads what an account says about the rotation of its refresh tokens.
pub(super) fn rotation(table: &mut Table<'_>) -> Result<Profile, Reported> {
    let word = table.read("rotation");
    let grace = table.parse("rotation_grace", grace);
    let word = word?;
    if word != Some(Word::Grace) && table.has("rotation_grace") {
        let wrong = Wrong::new("has no meaning without rotation = \"grace\"").hint("remove it");
        return Err(table.blame("rotation_grace", wrong));
    }
    Ok(match (word, grace?) {
        (None, _) => Profile::Unknown,
        (Some(Word::None), _) => Profile::None,
        (Some(Word::Strict), _) => Profile::Strict,
        (Some(Word::Grace), Some(grace)) => Profile::Grace(grace),
        (Some(Word::Grace), None) => {
            let wrong =
                Wrong::new("missing").hint("write how many seconds the issuer takes a replaced token");
            return Err(table.missing("rotation_grace", wrong));
        }
    })
}

fn grace(seconds: i64) -> Result<Duration, Wrong> {
    let wrong = || Wrong::new(format!("must be a number of seconds from 1 to {LONGEST_GRACE}"));
    if !(1..=LONGEST_GRACE).contains(&seconds) {
        return Err(wrong());
    }
    u64::try_from(seconds).map(Duration::from_secs).map_err(|_| wrong())
}
