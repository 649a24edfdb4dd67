//! The audit log: JSON lines for every call, and for every refusal from the identification of the caller on.
//!
//! It promises that a call whose start was recorded has its end recorded too, however the call ends; that room for both
//! records is reserved before the backend is called; and that no reserved record is lost while the sink is blocked. The types of
//! [`record`] fix what a record can contain: none of them can carry a text that a caller or a backend wrote, and [`fields`] has every
//! field. Program logs pass the same writer, so that lines never mix.

pub mod arguments;
pub mod fields;
mod handle;
mod line;
mod program_log;
mod queue;
pub mod record;
mod remedies;
mod reservation;
mod sink;
mod tally;
pub mod vocabulary;
mod writer;

pub use handle::Audit;
pub use portcullis_crds::contract::OnOverflow;
pub use program_log::ProgramLog;
pub use queue::{Blocked, Options};
pub use reservation::Reservation;
pub use sink::Sink;
