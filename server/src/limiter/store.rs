//! The interface of a store of limits, which counts admissions for this process or for all replicas together.
//!
//! How long an answer may take, and how much of a rate each replica may admit, is decided by the store.

use std::time::Duration;

use futures::future::{BoxFuture, Either, Ready};

use super::{dimension::Dimensions, moment::Moment};

/// A store of limits.
pub trait LimitStore: Send + Sync {
    /// Takes one admission from every dimension, or, if one of them is used up, from none. A dimension that is given twice
    /// counts once.
    fn admit<'a>(&'a self, dimensions: &'a Dimensions) -> StoreFuture<'a, Admission<'a>>;

    /// Whether a dimension is used up, as far as is known at once.
    fn used_up(&self, _: &Dimensions) -> Option<OverLimit> {
        None
    }

    /// Takes an admission back, as if the call had not been made: it had no effect. What others were admitted or refused
    /// meanwhile stays as it is.
    fn take_back<'a>(&'a self, receipt: Receipt<'a>) -> StoreFuture<'a, ()>;
}

/// The answer of a store, now or later. A store that need not wait allocates nothing.
pub type StoreFuture<'a, T> = Either<Ready<T>, BoxFuture<'a, T>>;

/// What a store answers to a call.
#[derive(Debug)]
pub enum Admission<'a> {
    Admitted(Receipt<'a>),
    Over(OverLimit),
    /// The store cannot be reached. It is not known whether something was taken.
    Unavailable,
}

/// What one admission took.
#[derive(Debug)]
pub struct Receipt<'a> {
    pub(super) dimensions: &'a Dimensions,
    /// When, by the clock of the store.
    pub(super) at: Moment,
}

/// A call was not admitted, and nothing was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// The index of the dimension that is used up for the longest time.
    pub dimension: usize,
    /// After exactly this time the call is admitted, if no other comes before it. If the rate admits nothing, the span of the
    /// rate.
    pub retry_after: Duration,
}

impl OverLimit {
    /// For a `Retry-After` header and the sentence: whole seconds, rounded up, at least 1.
    pub fn retry_after_seconds(&self) -> u64 {
        self.retry_after.as_nanos().div_ceil(1_000_000_000).max(1) as u64
    }
}
