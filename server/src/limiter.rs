//! Limits: at most N admissions in any span of time, in several dimensions at once, and the number of calls in flight.
//!
//! A store promises that no span admits more than N, that a refused call uses up nothing, and that the time it names is the one
//! at which the call would be admitted. What a dimension stands for, and what a refusal leads to, is left to the guard.

mod dimension;
mod in_flight;
mod memory;
mod moment;
mod store;
mod stores;

pub use dimension::{Dimension, Dimensions, LimitKey, Rate, TooManyLimits};
pub use in_flight::{InFlight, InFlightGuard};
pub use memory::MemoryStore;
pub use moment::{Clock, Moment};
pub use store::{Admission, LimitStore, OverLimit, Receipt, StoreFuture};
pub use stores::Stores;
