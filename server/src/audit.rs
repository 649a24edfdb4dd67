//! The audit log: one JSON line for everything that somebody may later ask about.
//!
//! It promises that a call whose start was recorded has its end recorded too, on every exit, that room for both is there
//! before the backend is reached, and that nothing admitted is lost while the sink is blocked. What may be said in a record
//! is fixed by the types of [`record`]: none of them can carry a value that a caller or a backend wrote. Program logs go
//! through the same writer, so that lines never mix.

pub mod arguments;
mod handle;
mod line;
mod program_log;
mod queue;
pub mod record;
mod reservation;
mod tally;
pub mod vocabulary;
mod writer;

pub use handle::{Audit, Blocked, Options};
pub use portcullis_crds::contract::OnOverflow;
pub use program_log::ProgramLog;
pub use reservation::Reservation;
