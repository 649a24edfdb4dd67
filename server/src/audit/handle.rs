use std::{io::Write, time::Duration};

use super::{
    program_log::ProgramLog,
    record::{AuthFailed, Record},
    reservation::Reservation,
};

/// The audit log of this process. Clones share it.
#[derive(Clone)]
pub struct Audit {}

/// How the log behaves; the defaults are right for a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names this process in each record, so that a gap in `seq` is provable: a pod's name and a random part.
    pub instance: String,
    /// Bytes of records that may wait for the sink, rooms that are reserved included. 32 MiB.
    pub capacity: usize,
    /// The sink is blocked when one write takes longer. 1 s.
    pub blocked_after: Duration,
    /// How long records are gathered before they are written. 1 ms.
    pub batch: Duration,
}

/// What happens to calls while records cannot be written (`audit.onOverflow` of the policy in force).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The call is refused before any effect.
    Refuse,
    /// The call is served; records that find no room are counted.
    Drop,
}

/// Records cannot be written now: answer 503, and do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Blocked;

impl Options {
    /// The defaults, for a process of this name.
    pub fn new(instance: impl Into<String>) -> Self {
        let _ = instance.into();
        unimplemented!()
    }
}

impl Audit {
    /// Starts the writer thread. The sink must be in blocking mode.
    pub fn start(sink: Box<dyn Write + Send>, options: Options) -> std::io::Result<Self> {
        let _ = (sink, options);
        unimplemented!()
    }

    /// Room for both records of a call, before its limits are asked and its backend is reached. Costs no allocation;
    /// dropped without a start it gives the room back.
    ///
    /// # Errors
    /// With [`Overflow::Refuse`], where the sink is blocked or no room is left; at once, without waiting.
    pub fn reserve(&self, overflow: Overflow) -> Result<Reservation, Blocked> {
        let _ = overflow;
        unimplemented!()
    }

    /// Writes a record that is no call's. Of equal ones within a second the first ten are written each, the rest as one
    /// with a `count`.
    ///
    /// # Errors
    /// As [`Audit::reserve`].
    pub fn record(&self, record: &Record<'_>, overflow: Overflow) -> Result<(), Blocked> {
        let _ = (record, overflow);
        unimplemented!()
    }

    /// Records a failed authentication. Never blocks and never takes room from others: strangers have a small room of their
    /// own, and what finds none is counted.
    pub fn stranger(&self, failed: &AuthFailed) {
        let _ = failed;
        unimplemented!()
    }

    /// Whether records cannot be written now (for `/health`).
    pub fn is_blocked(&self) -> bool {
        unimplemented!()
    }

    /// How many records were lost since the start (for the metric).
    pub fn dropped(&self) -> u64 {
        unimplemented!()
    }

    pub fn instance(&self) -> &str {
        unimplemented!()
    }

    /// A `tracing` layer that writes program logs between the records. Own targets from `level` up, those of libraries
    /// from `warn` up.
    pub fn program_log(&self, level: tracing::Level) -> ProgramLog {
        let _ = level;
        unimplemented!()
    }

    /// Writes what there is and ends the writer; waits at most `within`. Says whether everything was written.
    pub fn stop(&self, within: Duration) -> bool {
        let _ = within;
        unimplemented!()
    }
}
