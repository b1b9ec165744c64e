//! What can go wrong between a client and a fake issuer, at named points of one exchange.
//!
//! The point decides what the client may have lost: before the commit nothing has happened at the issuer; after it a
//! refresh token may be spent although its successor never arrived.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::mix::Mix;
use super::reply::Reply;

/// The endpoints that can be disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// RFC 8414, OpenID Connect Discovery.
    Metadata,
    /// RFC 6749 §3.2.
    Token,
    /// RFC 8628 §3.1.
    DeviceAuthorization,
    /// RFC 7009 §2.
    Revocation,
}

/// The points of an exchange, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The connection stands, the request is not read.
    BeforeRead,
    /// The request is read and nothing has changed.
    BeforeCommit,
    /// The issuer has changed its state, and no byte of the answer is out.
    BeforeReply,
    /// Half of the answer's body is out.
    MidBody,
}

/// What goes wrong. From [`Point::MidBody`] on it concerns the second half of the body.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It takes this much longer.
    Delay(Duration),
    /// Another answer comes in place of the true one.
    Answer(Reply),
    /// The connection ends.
    HangUp,
    /// The connection is reset, as a crash or a middlebox would. In the middle of a body it ends.
    Reset,
    /// The answer is far too big, and well-formed.
    Giant,
    /// The bytes of the answer are damaged.
    Garble,
}

/// The size of what [`Fault::Giant`] adds: more than any answer that a client should be ready to read.
pub const GIANT: usize = 2 * 1024 * 1024;

impl Fault {
    /// Returns what becomes of an answer; none means that the connection ends.
    pub(crate) async fn strike(&self, reply: Reply) -> Option<Reply> {
        match self {
            Self::Delay(duration) => {
                crate::patience::latency(*duration).await;
                Some(reply)
            }
            Self::Answer(other) => Some(other.clone()),
            Self::HangUp | Self::Reset => None,
            Self::Giant => Some(reply.padded(GIANT)),
            Self::Garble => Some(reply.garbled()),
        }
    }
}

/// What is going to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    planned: Mutex<Vec<Planned>>,
    mixed: Mutex<Option<(Endpoint, Mix)>>,
    pub(crate) gate: Gate,
}

#[derive(Debug)]
struct Planned {
    endpoint: Endpoint,
    point: Point,
    fault: Fault,
    times: Times,
}

#[derive(Debug, PartialEq, Eq)]
enum Times {
    Left(usize),
    UntilMended,
}

impl Faults {
    pub(crate) fn plan_next(&self, times: usize, endpoint: Endpoint, point: Point, fault: Fault) {
        let planned = Planned { endpoint, point, fault, times: Times::Left(times) };
        self.planned.lock().unwrap().push(planned);
    }

    pub(crate) fn plan_standing(&self, endpoint: Endpoint, point: Point, fault: Fault) {
        let planned = Planned { endpoint, point, fault, times: Times::UntilMended };
        self.planned.lock().unwrap().push(planned);
    }

    pub(crate) fn plan_mix(&self, endpoint: Endpoint, mix: Mix) {
        *self.mixed.lock().unwrap() = Some((endpoint, mix));
    }

    pub(crate) fn clear(&self) {
        self.planned.lock().unwrap().clear();
        *self.mixed.lock().unwrap() = None;
    }

    /// Takes what is planned for the exchange that begins now: the oldest plan for its endpoint, else by chance.
    pub(crate) fn take(&self, endpoint: Endpoint) -> Option<(Point, Fault)> {
        self.take_planned(endpoint).or_else(|| match &mut *self.mixed.lock().unwrap() {
            Some((at, mix)) if *at == endpoint => mix.draw(),
            Some(_) | None => None,
        })
    }

    fn take_planned(&self, endpoint: Endpoint) -> Option<(Point, Fault)> {
        let mut planned = self.planned.lock().unwrap();
        let index = planned.iter().position(|plan| plan.endpoint == endpoint)?;
        let plan = &mut planned[index];
        let taken = (plan.point, plan.fault.clone());
        if let Times::Left(left) = &mut plan.times {
            *left -= 1;
        }
        planned.retain(|plan| plan.times != Times::Left(0));
        Some(taken)
    }
}

/// A gate that exchanges wait at while it is closed, so that a test can look at a moment for as long as it wants to.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: watch::Sender<Option<(Endpoint, Point)>>,
    waiting: AtomicUsize,
}

impl Default for Gate {
    fn default() -> Self {
        Self { closed: watch::Sender::new(None), waiting: AtomicUsize::new(0) }
    }
}

impl Gate {
    pub(crate) fn close(&self, endpoint: Endpoint, point: Point) {
        self.closed.send_replace(Some((endpoint, point)));
    }

    pub(crate) fn open(&self) {
        self.closed.send_replace(None);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(crate) async fn pass(&self, endpoint: Endpoint, point: Point) {
        if !self.is_closed(endpoint, point) {
            return;
        }
        let _waiting = Counted::new(&self.waiting);
        let mut closed = self.closed.subscribe();
        // The sender lives as long as this gate, so there is always an answer.
        let opened = closed.wait_for(|closed| *closed != Some((endpoint, point))).await;
        drop(opened);
    }

    /// Tells whether an exchange would wait here.
    pub(crate) fn is_closed(&self, endpoint: Endpoint, point: Point) -> bool {
        *self.closed.borrow() == Some((endpoint, point))
    }
}

/// Counts those who are present, also when they leave by being dropped.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(crate) fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_faults_come_in_order_and_run_out() {
        let faults = Faults::default();
        faults.plan_next(2, Endpoint::Token, Point::BeforeCommit, Fault::HangUp);
        faults.plan_next(1, Endpoint::Token, Point::BeforeReply, Fault::Giant);
        assert!(faults.take(Endpoint::Revocation).is_none());
        let points: Vec<_> =
            std::iter::from_fn(|| faults.take(Endpoint::Token)).map(|(point, _)| point).collect();
        assert_eq!(points, [Point::BeforeCommit, Point::BeforeCommit, Point::BeforeReply]);
    }

    #[test]
    fn a_standing_fault_stands_until_it_is_cleared() {
        let faults = Faults::default();
        faults.plan_standing(Endpoint::Token, Point::BeforeRead, Fault::HangUp);
        assert!((0..10).all(|_| faults.take(Endpoint::Token).is_some()));
        faults.clear();
        assert!(faults.take(Endpoint::Token).is_none());
    }
}
