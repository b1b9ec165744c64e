//! The shim's reader of answers. However an answer is cut into pieces, it is the same answer; a part of one is none.

#![no_main]

#[path = "../../../client-shim/src/answer.rs"]
mod answer;

use answer::{Answer, MediaType};
use keyfob_protocol::error::ErrorBody;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&step, data)) = data.split_first() else { return };
    let whole = Answer::read(data);
    // What has come so far: never an answer before its end, and never a complaint that the rest would take back.
    let mut end = 0;
    while end < data.len() {
        match (Answer::read(&data[..end]), &whole) {
            (Ok(None), _) | (Err(_), Err(_)) => {}
            (Ok(Some(_)), Err(malformed)) => {
                assert_eq!(*malformed, answer::Malformed::Surplus, "it was complete at {end} bytes");
            }
            (Ok(Some(_)), Ok(_)) => panic!("it was complete at {end} bytes, and there are more"),
            (Err(malformed), Ok(_)) => panic!("{malformed} at {end} bytes, and then not"),
        }
        end += 1 + usize::from(step);
    }
    let Ok(Some(answer)) = whole else { return };
    assert!((200..=599).contains(&answer.status));
    assert!(data.ends_with(&answer.body) && answer.body.len() <= 1024 * 1024);
    assert!(answer.status != 204 || answer.body.is_empty());
    assert_eq!(answer.is_success(), answer.status < 300);
    match answer.media_type {
        MediaType::Json => drop(serde_json::from_slice::<ErrorBody>(&answer.body)),
        MediaType::PlainText | MediaType::Other => {}
    }
});
