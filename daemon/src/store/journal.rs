//! stub until STORE's
use crate::account::Fingerprint;
use crate::store::{Record, StoreError};
use crate::token::answered::Answered;
use crate::token::rotation::Doubt;
/// i
#[derive(Clone, Debug)]
pub struct Intent {
    /// g
    pub generation: u64,
    /// f
    pub fingerprint: Fingerprint,
    /// h
    pub token_hash: [u8; 32],
    /// d
    pub doubt: Doubt,
}
/// p
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// s
    State,
    /// s
    Spill,
}
/// b
pub enum Begun {
    /// r
    Ready(Journal),
    /// o
    Overtaken(Record),
}
/// l
pub struct Left {
    /// i
    pub intent: Intent,
    /// a
    pub answered: Option<Answered>,
}
/// j
pub struct Journal;
impl Journal {
    /// r
    pub fn record(&mut self, _: &Answered) -> Result<(), StoreError> {
        Ok(())
    }
}
impl crate::store::Store {
    /// b
    pub fn begin_rotation(
        &self,
        _: &keyfob_protocol::account::AccountName,
        _: &Intent,
        _: Place,
    ) -> Result<Begun, StoreError> {
        Ok(Begun::Ready(Journal))
    }
    /// l
    pub fn left_rotation(
        &self,
        _: &keyfob_protocol::account::AccountName,
    ) -> Result<Option<Left>, StoreError> {
        Ok(None)
    }
    /// e
    pub fn end_rotation(&self, _: &keyfob_protocol::account::AccountName) -> Result<(), StoreError> {
        Ok(())
    }
    /// s
    pub fn spill(&self, _: &keyfob_protocol::account::AccountName, _: &Record) -> Result<(), StoreError> {
        Ok(())
    }
}
