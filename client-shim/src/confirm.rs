//! `keyfob confirm`: shows the programs that wait to be allowed a token, and takes the person's word.
//!
//! The thing to get wrong: an answer that nobody gave. Only `y` and `n` are answers; whatever else is typed, and the end of
//! the input, leaves the question as it is.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keyfob_protocol::confirmation::{
    Answer, Confirmation, ConfirmationAnswer, ConfirmationList, ConfirmationReport, DEFAULT_HELD,
};
use keyfob_protocol::error::ErrorCode;

use crate::arguments::confirm::{Action, ConfirmOptions};
use crate::arguments::mistake::Mistake;
use crate::arguments::status::Form;
use crate::client::{self, Client};
use crate::clock::{Deadline, now};
use crate::connection::{Method, Request};
use crate::display;
use crate::failure::Failure;

/// How long the daemon may take: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest line that is read as an answer.
const MAX_LINE: u64 = 256;

/// Does what is asked for, and returns what came of it.
pub(crate) fn run(options: &ConfirmOptions, client: &Client) -> Result<String, Failure> {
    match options.action {
        Action::Answer(id, answer) => {
            let (report, json) = send(client, id, ConfirmationAnswer { answer, for_seconds: options.held })?;
            match options.form {
                Form::Json => Ok(json),
                Form::Table => Ok(outcome(&report, answer, now())),
            }
        }
        Action::List => {
            let (list, json) = list(client)?;
            match options.form {
                Form::Json => Ok(json),
                Form::Table if list.is_empty() => Ok(nothing()),
                Form::Table => Ok(list.iter().map(|question| numbered(question, now())).collect()),
            }
        }
        Action::Ask => ask(options, client),
    }
}

/// Asks the person about each program that waits.
fn ask(options: &ConfirmOptions, client: &Client) -> Result<String, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Mistake::NoTerminal.into());
    }
    let (questions, _) = list(client)?;
    if questions.is_empty() {
        return Ok(nothing());
    }
    for question in &questions {
        say(&format!("{}{}", told(question, now()), prompt(options.held)))?;
        let Some(line) = read_line()? else { break };
        let Some(answer) = meant(&line) else {
            say("  it goes on waiting\n")?;
            continue;
        };
        let given = ConfirmationAnswer { answer, for_seconds: options.held };
        match send(client, question.id, given) {
            Ok((report, _)) => say(&format!("  {}", outcome(&report, answer, now())))?,
            // Somebody else has answered, or nobody waits any more.
            Err(Failure::Refused(body)) if body.error == ErrorCode::NotFound => {
                say("  nobody waits for that any more\n")?;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(String::new())
}

fn list(client: &Client) -> Result<(Vec<Confirmation>, String), Failure> {
    let request = Request::new(Method::Get, "/v1/confirmations");
    let answer = client.ask(&request, Deadline::after(PATIENCE))?;
    let list: ConfirmationList = client::read(&answer)?;
    Ok((list.confirmations, format!("{}\n", String::from_utf8_lossy(&answer.body).trim_end())))
}

fn send(
    client: &Client,
    id: u64,
    answer: ConfirmationAnswer,
) -> Result<(ConfirmationReport, String), Failure> {
    let body = serde_json::to_string(&answer).map_err(|error| Failure::Output(error.into()))?;
    let request = Request::new(Method::Post, format!("/v1/confirmations/{id}")).with(body);
    let answer = client.ask(&request, Deadline::after(PATIENCE))?;
    let json = format!("{}\n", String::from_utf8_lossy(&answer.body).trim_end());
    Ok((client::read(&answer)?, json))
}

/// Returns the answer that a line is, if it is one.
fn meant(line: &str) -> Option<Answer> {
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(Answer::Allow),
        "n" | "no" => Some(Answer::Deny),
        _ => None,
    }
}

fn nothing() -> String {
    "no program waits to be confirmed\n".to_owned()
}

fn numbered(question: &Confirmation, now: Timestamp) -> String {
    format!("{}: {}", question.id, told(question, now))
}

/// Returns a question in words.
fn told(question: &Confirmation, now: Timestamp) -> String {
    let Confirmation { account, program, pid, unit, wanted, asked_at, id: _ } = question;
    let pid = pid.map(|pid| format!("process {pid}"));
    let unit = unit.as_deref().map(|unit| format!("in {}", display::text(unit)));
    let place: Vec<String> = pid.into_iter().chain(unit).collect();
    let place = if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) };
    let wanted: Vec<String> = wanted.iter().map(|wanted| display::text(wanted)).collect();
    let wanted = if wanted.is_empty() { String::new() } else { format!(", for {}", wanted.join("; ")) };
    let ago = display::span(now.duration_since(*asked_at).max(SignedDuration::ZERO).unsigned_abs());
    format!("{}{place} wants a token of {account}{wanted} ({ago} ago)\n", display::text(program))
}

fn prompt(held: Option<u64>) -> String {
    let held = match held.unwrap_or(DEFAULT_HELD) {
        0 => "this once".to_owned(),
        seconds => format!("for {}", display::span(Duration::from_secs(seconds))),
    };
    format!("  allow it {held}? y or n, anything else leaves it waiting: ")
}

fn outcome(report: &ConfirmationReport, answer: Answer, now: Timestamp) -> String {
    let Confirmation { account, program, .. } = &report.confirmation;
    let program = display::text(program);
    let held = match report.until.and_then(|until| display::until(until, now)) {
        Some(time) => format!("for {time}"),
        None => "this once".to_owned(),
    };
    match answer {
        Answer::Allow => format!("{program} may have tokens of {account} {held}\n"),
        Answer::Deny => format!("{program} may not have tokens of {account} {held}\n"),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    let mut error = io::stderr().lock();
    error.write_all(text.as_bytes()).and_then(|()| error.flush()).map_err(Failure::Output)
}

/// Reads a line; nothing at the end of the input, or where there is no end to a line: what follows would be taken for the
/// next answer.
fn read_line() -> Result<Option<String>, Failure> {
    let mut line = Vec::new();
    io::stdin().lock().take(MAX_LINE).read_until(b'\n', &mut line).map_err(Failure::Output)?;
    let is_whole = line.ends_with(b"\n");
    Ok(is_whole.then(|| String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Confirmation {
        serde_json::from_str(
            r#"{"id":3,"account":"prod","program":"/bin/\u001b[2Jx","pid":7,"unit":"a.service","wanted":["scope read"],
                "asked_at":"2026-11-21T11:59:48Z","later":1}"#,
        )
        .unwrap()
    }

    fn at() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_question_says_who_wants_what_and_nothing_that_steers_a_terminal() {
        let expected =
            "3: /bin/[2Jx (process 7, in a.service) wants a token of prod, for scope read (12 s ago)\n";
        assert_eq!(numbered(&question(), at()), expected);
        let bare = Confirmation { pid: None, unit: None, wanted: Vec::new(), ..question() };
        assert_eq!(told(&bare, at()), "/bin/[2Jx wants a token of prod (12 s ago)\n");
    }

    #[test]
    fn only_a_clear_word_is_an_answer() {
        for (line, answer) in [
            ("y\n", Some(Answer::Allow)),
            (" YES \r\n", Some(Answer::Allow)),
            ("n", Some(Answer::Deny)),
            ("No\n", Some(Answer::Deny)),
            ("\n", None),
            ("yeah", None),
            ("yn", None),
            ("1", None),
        ] {
            assert_eq!(meant(line), answer, "{line:?}");
        }
    }

    #[test]
    fn an_outcome_says_for_how_long_it_holds() {
        let until = Some("2026-11-21T20:00:00Z".parse().unwrap());
        let report = |until| ConfirmationReport { confirmation: question(), until };
        let line = outcome(&report(until), Answer::Allow, at());
        assert_eq!(line, "/bin/[2Jx may have tokens of prod for 8 h\n");
        let line = outcome(&report(None), Answer::Deny, at());
        assert_eq!(line, "/bin/[2Jx may not have tokens of prod this once\n");
        assert!(prompt(None).contains("for 8 h") && prompt(Some(0)).contains("this once"));
    }
}
