//! Many times of one thing, and how they are told.

/// Times in microseconds, in order.
#[derive(Clone, Debug)]
pub(crate) struct Times(Vec<u128>);

impl Times {
    pub(crate) fn new(mut times: Vec<u128>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// Returns the times of several runs as those of one.
    pub(crate) fn of_all(runs: impl IntoIterator<Item = Self>) -> Self {
        Self::new(runs.into_iter().flat_map(|run| run.0).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u128> {
        self.0.iter().copied()
    }

    /// Returns a percentile.
    pub(crate) fn at(&self, percent: usize) -> u128 {
        self.0.get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1))).copied().unwrap_or(0)
    }

    /// Returns the greatest.
    pub(crate) fn worst(&self) -> u128 {
        self.0.last().copied().unwrap_or(0)
    }
}

/// Returns microseconds as milliseconds with two digits.
pub(crate) fn milliseconds(microseconds: u128) -> String {
    format!("{:.2} ms", microseconds as f64 / 1000.0)
}

/// Returns how many times as much the one is as the other.
pub(crate) fn ratio(of: u128, to: u128) -> String {
    format!("{:.2}", of as f64 / to.max(1) as f64)
}
