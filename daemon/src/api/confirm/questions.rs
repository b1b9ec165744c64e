//! The questions that wait for a person, and the answers that hold: decided as functions of `now`.
//!
//! What a person agrees to is a program for an account, from a unit. Whoever asks for the same waits for the same answer.
//! The thing to get wrong: an answer about a program that nobody could identify must not hold for the next one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use keyfob_protocol::account::AccountName;
use keyfob_protocol::confirmation::{Answer, Confirmation, ConfirmationReport};
use tokio::sync::watch;

use crate::account::policy::{Asker, Program};
use crate::clock::{Moment, Now};

/// Questions that wait at most: more than a person answers. Whoever asks beyond that is denied.
const MAX_QUESTIONS: usize = 64;

/// How long a question waits after it was asked last: long enough to find a terminal. Whoever asked may have given up by
/// then, and be served when it tries again. It is longer than any request waits.
const LIFE: Duration = Duration::from_secs(300);

/// Answers that are held at most; of more, the one that ends soonest goes, and its program has to be confirmed again.
const MAX_HELD_ANSWERS: usize = 1024;

/// Things that one question lists as wanted.
const MAX_WANTED: usize = 8;

/// What a person is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    account: AccountName,
    program: Program,
    unit: Option<String>,
    /// Whose question it is alone, where the program could not be identified.
    pid: Option<i32>,
}

/// What there is to say to a program that asks.
pub(super) enum Standing {
    /// The answer that holds.
    Answered(Answer),
    /// The answer comes, if it does, through this.
    Asked(watch::Receiver<Option<Answer>>),
    /// Too many questions wait already.
    Crowded,
}

/// The questions that wait, and the answers that hold.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// The number of the latest question.
    latest: u64,
    pending: BTreeMap<u64, Question>,
    held: HashMap<Subject, (Answer, Moment)>,
}

#[derive(Debug)]
struct Question {
    subject: Subject,
    pid: Option<i32>,
    wanted: BTreeSet<String>,
    asked_at: Timestamp,
    asked_last: Moment,
    answer: watch::Sender<Option<Answer>>,
}

impl Subject {
    pub(super) fn new(account: &AccountName, asker: &Asker) -> Self {
        let pid = if is_identified(&asker.program) { None } else { asker.pid };
        Self { account: account.clone(), program: asker.program.clone(), unit: asker.unit.clone(), pid }
    }
}

fn is_identified(program: &Program) -> bool {
    match program {
        Program::File(_) => true,
        Program::Elsewhere(_) | Program::Unseen(_) => false,
    }
}

impl Questions {
    /// Returns the answer that holds, or asks.
    pub(super) fn ask(&mut self, subject: Subject, asker: &Asker, wanted: &str, now: Now) -> Standing {
        self.clear(now.moment);
        if let Some((answer, _)) = self.held.get(&subject) {
            return Standing::Answered(*answer);
        }
        // Two of which nothing is known are not the same.
        let is_known = is_identified(&subject.program) || subject.pid.is_some();
        let is_same = |question: &&mut Question| is_known && question.subject == subject;
        if let Some(question) = self.pending.values_mut().find(is_same) {
            question.asked_last = now.moment;
            if question.wanted.len() < MAX_WANTED {
                question.wanted.extend(Some(wanted.to_owned()).filter(|wanted| !wanted.is_empty()));
            }
            return Standing::Asked(question.answer.subscribe());
        }
        if self.pending.len() >= MAX_QUESTIONS {
            return Standing::Crowded;
        }
        let (answer, coming) = watch::channel(None);
        let question = Question {
            subject,
            pid: asker.pid,
            wanted: Some(wanted.to_owned()).filter(|wanted| !wanted.is_empty()).into_iter().collect(),
            asked_at: now.wall,
            asked_last: now.moment,
            answer,
        };
        self.latest += 1;
        self.pending.insert(self.latest, question);
        Standing::Asked(coming)
    }

    /// Answers a question, for so long; returns nothing where there is no such question any more.
    pub(super) fn answer(
        &mut self,
        id: u64,
        answer: Answer,
        held: Duration,
        now: Now,
    ) -> Option<ConfirmationReport> {
        self.clear(now.moment);
        let question = self.pending.remove(&id)?;
        let confirmation = question.told(id);
        let until =
            (!held.is_zero() && is_identified(&question.subject.program)).then(|| now.moment.after(held));
        if let Some(until) = until {
            self.hold(question.subject, answer, until);
        }
        question.answer.send_replace(Some(answer));
        Some(ConfirmationReport { confirmation, until: until.map(|until| now.wall_at(until)) })
    }

    /// Returns the questions that wait, the oldest first.
    pub(super) fn list(&mut self, now: Moment) -> Vec<Confirmation> {
        self.clear(now);
        self.pending.iter().map(|(id, question)| question.told(*id)).collect()
    }

    /// Forgets every answer. The questions go on.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    fn hold(&mut self, subject: Subject, answer: Answer, until: Moment) {
        if self.held.len() >= MAX_HELD_ANSWERS && !self.held.contains_key(&subject) {
            let soonest = self.held.iter().min_by_key(|(_, (_, until))| *until);
            let soonest = soonest.map(|(subject, _)| subject.clone());
            soonest.map(|subject| self.held.remove(&subject));
        }
        self.held.insert(subject, (answer, until));
    }

    /// Drops what has had its time.
    fn clear(&mut self, now: Moment) {
        self.pending.retain(|_, question| now.since(question.asked_last) < LIFE);
        self.held.retain(|_, (_, until)| now < *until);
    }
}

impl Question {
    fn told(&self, id: u64) -> Confirmation {
        let Subject { account, program, unit, pid: _ } = &self.subject;
        let asker = Asker { pid: self.pid, program: program.clone(), unit: unit.clone() };
        Confirmation {
            id,
            account: account.clone(),
            program: program.to_string(),
            pid: self.pid,
            unit: asker.shown_unit(),
            wanted: self.wanted.iter().cloned().collect(),
            asked_at: self.asked_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const HOUR: Duration = Duration::from_secs(3600);

    struct World {
        questions: Questions,
        now: Now,
    }

    impl World {
        fn new() -> Self {
            Self { questions: Questions::default(), now: Clock::system().now() }
        }

        fn pass(&mut self, time: Duration) {
            self.now = Now { moment: self.now.moment.after(time), wall: self.now.wall };
        }

        fn ask(&mut self, asker: &Asker, wanted: &str) -> Standing {
            let subject = Subject::new(&"prod".parse().unwrap(), asker);
            self.questions.ask(subject, asker, wanted, self.now)
        }

        fn answer(&mut self, id: u64, answer: Answer, held: Duration) -> Option<ConfirmationReport> {
            self.questions.answer(id, answer, held, self.now)
        }

        fn ids(&mut self) -> Vec<u64> {
            self.questions.list(self.now.moment).iter().map(|question| question.id).collect()
        }
    }

    fn asker(file: &str, pid: i32) -> Asker {
        Asker { pid: Some(pid), program: Program::File(file.into()), unit: None }
    }

    fn holds(standing: &Standing) -> Option<Answer> {
        match standing {
            Standing::Answered(answer) => Some(*answer),
            Standing::Asked(_) | Standing::Crowded => None,
        }
    }

    fn coming(standing: Standing) -> watch::Receiver<Option<Answer>> {
        match standing {
            Standing::Asked(coming) => coming,
            Standing::Answered(_) | Standing::Crowded => panic!("it was not asked"),
        }
    }

    #[test]
    fn two_processes_of_a_program_wait_for_one_answer_and_another_program_for_its_own() {
        let mut world = World::new();
        let one = coming(world.ask(&asker("/bin/a", 1), "scope read"));
        let two = coming(world.ask(&asker("/bin/a", 2), "scope write"));
        let other = coming(world.ask(&asker("/bin/b", 3), ""));
        let unit = Asker { unit: Some("x.service".to_owned()), ..asker("/bin/a", 4) };
        world.ask(&unit, "");
        assert_eq!(world.ids(), [1, 2, 3]);
        let asked = &world.questions.list(world.now.moment)[0];
        assert_eq!((asked.pid, asked.wanted.join(", ")), (Some(1), "scope read, scope write".to_owned()));
        world.answer(1, Answer::Allow, HOUR).unwrap();
        assert_eq!(
            (*one.borrow(), *two.borrow(), *other.borrow()),
            (Some(Answer::Allow), Some(Answer::Allow), None)
        );
        assert_eq!(world.ids(), [2, 3]);
        assert!(world.answer(1, Answer::Deny, HOUR).is_none(), "it is answered already");
    }

    #[test]
    fn an_answer_holds_for_its_time_and_no_longer() {
        let mut world = World::new();
        let program = asker("/bin/a", 1);
        for answer in [Answer::Allow, Answer::Deny] {
            world.ask(&program, "");
            let id = world.ids()[0];
            let report = world.answer(id, answer, HOUR).unwrap();
            assert_eq!(report.until, Some(world.now.wall_at(world.now.moment.after(HOUR))));
            world.pass(HOUR - Duration::from_secs(1));
            assert_eq!(holds(&world.ask(&asker("/bin/a", 9), "")), Some(answer));
            world.pass(Duration::from_secs(1));
            assert_eq!(holds(&world.ask(&program, "")), None);
            world.answer(world.questions.latest, answer, Duration::ZERO).unwrap();
        }
        world.ask(&program, "");
        world.answer(world.questions.latest, Answer::Allow, HOUR).unwrap();
        world.questions.forget();
        assert_eq!(holds(&world.ask(&program, "")), None);
    }

    #[test]
    fn an_answer_for_now_is_for_those_who_wait() {
        let mut world = World::new();
        let waiting = coming(world.ask(&asker("/bin/a", 1), ""));
        assert_eq!(world.answer(1, Answer::Allow, Duration::ZERO).unwrap().until, None);
        assert_eq!(*waiting.borrow(), Some(Answer::Allow));
        assert_eq!(holds(&world.ask(&asker("/bin/a", 1), "")), None);
    }

    #[test]
    fn an_answer_about_what_could_not_be_identified_holds_for_nobody_else() {
        for program in [Program::Unseen(Some("git".to_owned())), Program::Elsewhere("/usr/bin/git".into())] {
            let mut world = World::new();
            let unseen = |pid| Asker { pid: Some(pid), program: program.clone(), unit: None };
            world.ask(&unseen(1), "");
            world.ask(&unseen(2), "");
            assert_eq!(world.ids(), [1, 2]);
            assert_eq!(world.answer(1, Answer::Allow, HOUR).unwrap().until, None);
            assert_eq!(holds(&world.ask(&unseen(1), "")), None);
        }
    }

    #[test]
    fn a_question_that_nobody_asks_any_more_goes() {
        let mut world = World::new();
        let program = asker("/bin/a", 1);
        world.ask(&program, "");
        world.pass(LIFE - Duration::from_secs(1));
        world.ask(&program, "");
        world.pass(LIFE - Duration::from_secs(1));
        assert_eq!(world.ids(), [1]);
        world.pass(Duration::from_secs(1));
        assert!(world.ids().is_empty());
        assert!(world.answer(1, Answer::Allow, HOUR).is_none());
    }

    #[test]
    fn neither_questions_nor_answers_can_fill_the_memory() {
        let mut world = World::new();
        for number in 0..MAX_QUESTIONS {
            world.ask(&asker(&format!("/bin/{number}"), 1), "");
        }
        assert!(matches!(world.ask(&asker("/bin/one-more", 1), ""), Standing::Crowded));
        for number in 0..20 {
            world.ask(&asker("/bin/0", 1), &format!("scope {number}"));
        }
        assert_eq!(world.questions.list(world.now.moment)[0].wanted.len(), MAX_WANTED);
        let mut world = World::new();
        for number in 0..=MAX_HELD_ANSWERS {
            world.ask(&asker(&format!("/bin/{number}"), 1), "");
            world.pass(Duration::from_millis(1));
            world.answer(world.questions.latest, Answer::Allow, HOUR).unwrap();
        }
        assert_eq!(world.questions.held.len(), MAX_HELD_ANSWERS);
        assert_eq!(holds(&world.ask(&asker("/bin/0", 1), "")), None, "it was meant to be forgotten");
        assert_eq!(holds(&world.ask(&asker("/bin/1", 1), "")), Some(Answer::Allow));
    }
}
