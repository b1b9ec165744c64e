//! What a visitor is told, by how far the login has come.
//!
//! The thing to get wrong: a browser may fetch the callback twice, and a code that is sent twice may cost the tokens
//! (RFC 6749 §4.1.2). So the first callback that is taken is the last one that is read.

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

use crate::grant::loopback::Heard;
use crate::grant::loopback::pages::Page;

/// Tabs that wait for the outcome. A person has one; what is beyond this is told to look there.
const MAX_WAITING: usize = 8;

/// What a visitor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// That the callback would be taken.
    GoAhead,
    /// To wait at another address, which has no code in it.
    WaitElsewhere,
    /// A page.
    Page(Page),
}

/// Decides what a callback is, by its query.
type Read<T> = dyn Fn(&str) -> Heard<T> + Send;

/// The one who answers.
pub(super) struct Door<T> {
    read: Box<Read<T>>,
    stage: Stage<T>,
    waiting: Vec<oneshot::Sender<Reply>>,
}

enum Stage<T> {
    /// Callbacks are read.
    Open(oneshot::Sender<T>),
    /// One was taken.
    Taken,
    /// The login is over.
    Over {
        page: Page,
        /// Whether a browser that came with the callback still has to be told.
        owed: bool,
    },
}

impl<T> Door<T> {
    pub(super) fn new(
        read: impl Fn(&str) -> Heard<T> + Send + 'static,
        answered: oneshot::Sender<T>,
    ) -> Self {
        Self { read: Box::new(read), stage: Stage::Open(answered), waiting: Vec::new() }
    }

    /// Says what would become of a callback, and changes nothing.
    pub(super) fn judge(&self, query: &SecretString) -> Reply {
        match &self.stage {
            Stage::Open(_) => match (self.read)(query.expose_secret()) {
                Heard::Answer(_) => Reply::GoAhead,
                Heard::Stray(why) => stray(why),
            },
            Stage::Taken => Reply::Page(Page::Processing),
            Stage::Over { page, .. } => Reply::Page(*page),
        }
    }

    /// Hears a callback.
    pub(super) fn callback(&mut self, query: &SecretString) -> Reply {
        match &self.stage {
            Stage::Open(_) => match (self.read)(query.expose_secret()) {
                Heard::Answer(answer) => self.take(answer),
                Heard::Stray(why) => stray(why),
            },
            Stage::Taken => Reply::Page(Page::Processing),
            Stage::Over { page, .. } => Reply::Page(*page),
        }
    }

    /// Has somebody told how the login ends, as soon as it does.
    pub(super) fn outcome(&mut self, visitor: oneshot::Sender<Reply>) {
        self.waiting.retain(|visitor| !visitor.is_closed());
        match &mut self.stage {
            Stage::Open(_) => tell(visitor, Page::NotFound),
            Stage::Taken if self.waiting.len() < MAX_WAITING => self.waiting.push(visitor),
            Stage::Taken => tell(visitor, Page::Processing),
            Stage::Over { page, owed } => {
                *owed = false;
                tell(visitor, *page);
            }
        }
    }

    /// Tells all who wait how the login ended.
    pub(super) fn conclude(&mut self, page: Page) {
        let was_taken = match self.stage {
            Stage::Open(_) => false,
            Stage::Taken | Stage::Over { .. } => true,
        };
        self.waiting.retain(|visitor| !visitor.is_closed());
        self.stage = Stage::Over { page, owed: was_taken && self.waiting.is_empty() };
        for visitor in self.waiting.drain(..) {
            tell(visitor, page);
        }
    }

    /// Tells whether the browser that brought the callback is still on its way to the outcome.
    pub(super) fn owes_the_outcome(&self) -> bool {
        matches!(self.stage, Stage::Over { owed: true, .. })
    }

    fn take(&mut self, answer: T) -> Reply {
        if let Stage::Open(answered) = std::mem::replace(&mut self.stage, Stage::Taken) {
            // Where nobody waits for it any more, the login is about to be concluded.
            drop(answered.send(answer));
        }
        Reply::WaitElsewhere
    }
}

fn stray(why: &'static str) -> Reply {
    tracing::debug!(why, "heard a callback that is not the one waited for");
    Reply::Page(Page::Stray)
}

/// Tells a visitor, who may have left.
fn tell(visitor: oneshot::Sender<Reply>, page: Page) {
    visitor.send(Reply::Page(page)).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> (Door<String>, oneshot::Receiver<String>) {
        let (answered, answer) = oneshot::channel();
        let read = |query: &str| match query.strip_prefix("state=right&code=") {
            Some(code) => Heard::Answer(code.to_owned()),
            None => Heard::Stray("another state"),
        };
        (Door::new(read, answered), answer)
    }

    fn visitor(door: &mut Door<String>) -> oneshot::Receiver<Reply> {
        let (reply, told) = oneshot::channel();
        door.outcome(reply);
        told
    }

    #[test]
    fn forged_callbacks_change_nothing_and_the_right_one_is_taken_all_the_same_a1() {
        let (mut door, mut answer) = door();
        for _ in 0..10_000 {
            assert_eq!(door.callback(&"error=access_denied".into()), Reply::Page(Page::Stray));
        }
        assert_eq!(door.judge(&"error=access_denied".into()), Reply::Page(Page::Stray));
        assert_eq!(door.judge(&"state=right&code=1".into()), Reply::GoAhead);
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(door.callback(&"state=right&code=1".into()), Reply::WaitElsewhere);
        assert_eq!(answer.try_recv().as_deref(), Ok("1"));
    }

    #[test]
    fn a_second_callback_is_told_that_the_first_is_being_processed_and_is_not_read() {
        let (mut door, mut answer) = door();
        door.callback(&"state=right&code=1".into());
        for query in ["state=right&code=1", "state=right&code=2", "error=access_denied"] {
            assert_eq!(door.judge(&query.into()), Reply::Page(Page::Processing));
            assert_eq!(door.callback(&query.into()), Reply::Page(Page::Processing));
        }
        assert_eq!(answer.try_recv().as_deref(), Ok("1"));
    }

    #[test]
    fn the_outcome_is_nobodys_before_a_callback_and_then_everybodys_who_waits() {
        let (mut door, _answer) = door();
        assert_eq!(visitor(&mut door).try_recv(), Ok(Reply::Page(Page::NotFound)));
        door.callback(&"state=right&code=1".into());
        let mut tabs = [0; MAX_WAITING].map(|_| visitor(&mut door));
        assert_eq!(visitor(&mut door).try_recv(), Ok(Reply::Page(Page::Processing)));
        assert!(tabs.iter_mut().all(|tab| tab.try_recv().is_err()));
        door.conclude(Page::Success);
        assert!(tabs.iter_mut().all(|tab| tab.try_recv() == Ok(Reply::Page(Page::Success))));
        assert!(!door.owes_the_outcome());
    }

    #[test]
    fn the_outcome_is_owed_to_a_browser_that_is_on_its_way_and_to_nobody_else() {
        let (mut without_callback, _answer) = door();
        without_callback.conclude(Page::Success);
        assert!(!without_callback.owes_the_outcome());

        let (mut door, _answer) = door();
        door.callback(&"state=right&code=1".into());
        drop(visitor(&mut door));
        door.conclude(Page::Success);
        assert!(door.owes_the_outcome(), "a tab that was closed is not told anything");
        assert_eq!(visitor(&mut door).try_recv(), Ok(Reply::Page(Page::Success)));
        assert!(!door.owes_the_outcome());
    }
}
