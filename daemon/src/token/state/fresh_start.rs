//! What becomes of the pauses after failures when the world is another one: the machine has slept, or moved.
//!
//! The thing to get wrong: only pauses of our own making end. What the issuer asked us to wait, and what only a person can
//! mend, is as it was.

use crate::clock::Moment;
use crate::token::failure::Failure;
use crate::token::state::{Renewal, TokenState};

impl TokenState {
    /// Lets an attempt be made at once, and the pauses after it be as short as after the first failure.
    pub fn start_afresh(&mut self, now: Moment) {
        match &self.trouble {
            Some(Failure::Transient { retry_after: None, .. } | Failure::Ambiguous { .. }) => {}
            Some(
                Failure::Transient { .. }
                | Failure::Refused { .. }
                | Failure::Misconfigured { .. }
                | Failure::LoginRequired,
            )
            | None => return,
        }
        self.hasten(now);
        match &mut self.renewal {
            Renewal::Due { failures, .. }
            | Renewal::OnDemand { failures, .. }
            | Renewal::InFlight { failures } => *failures = 0,
            Renewal::Impossible { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::token::schedule::Jitter;
    use crate::token::state::Means;
    use crate::token::{AccessToken, RefreshToken, TokenSet};

    /// Returns the state of a login after failures in a row, at this time.
    fn failing(failure: &Failure, times: u32, now: Moment) -> TokenState {
        let access = AccessToken::new("at".into(), now, Some(now.after(Duration::from_secs(60)))).unwrap();
        let refresh = Some(RefreshToken::new("rt".into(), "https://i".to_owned()));
        let jitter = Jitter::from_bits(u32::MAX);
        let mut state =
            TokenState::signed_in(Means::Login, TokenSet { refresh, ..TokenSet::of(access) }, jitter);
        for _ in 0..times {
            state.begin();
            state.fail(failure.clone(), now, jitter);
        }
        state
    }

    #[test]
    fn pauses_of_our_own_making_end_and_those_that_were_asked_for_do_not() {
        let now = Clock::system().now().moment;
        let asked =
            Failure::Transient { message: "busy".into(), retry_after: Some(Duration::from_secs(1800)) };
        for (failure, ends) in [
            (Failure::transient("down"), true),
            (asked, false),
            (Failure::misconfigured("invalid_client"), false),
        ] {
            let mut state = failing(&failure, 9, now);
            let before = state.renewal();
            state.start_afresh(now);
            if ends {
                assert_eq!(state.renewal(), Renewal::Due { at: now, pull_from: now, failures: 0 });
                state.begin();
                state.fail(failure, now, Jitter::from_bits(u32::MAX));
                assert!(state.starts_at().unwrap().since(now) <= Duration::from_secs(1), "{before:?}");
            } else {
                assert_eq!(state.renewal(), before);
            }
        }
        let mut well = failing(&Failure::transient("down"), 0, now);
        let before = well.renewal();
        well.start_afresh(now);
        assert_eq!(well.renewal(), before, "a token that is not due was renewed");
    }
}
