//! What the rest of the server sees of the audit log.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use portcullis_crds::contract::OnOverflow;

use super::{
    line::Body,
    program_log::ProgramLog,
    queue::{Queue, SIDE_ROOM},
    record::{AuthFailed, Event, Record},
    reservation::Reservation,
    tally::TallyDecision,
    writer,
};

/// The audit log of this process. Clones share it.
#[derive(Clone)]
pub struct Audit(Arc<Queue>);

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

/// Records cannot be written now: answer 503, and do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Blocked;

/// Room for a record that is no call's: names and numbers, all bounded by the policy's schema.
const ROOM_OF_RECORD: usize = 2 * 1024;

impl Options {
    /// The defaults, for a process of this name.
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            instance: instance.into(),
            capacity: 32 * 1024 * 1024,
            blocked_after: Duration::from_secs(1),
            batch: Duration::from_millis(1),
        }
    }
}

impl Audit {
    /// Starts the writer thread. The sink must be in blocking mode.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(sink: Box<dyn Write + Send>, options: Options) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(options));
        let audit = Self(queue.clone());
        thread::Builder::new().name("audit".into()).spawn(move || writer::run(&queue, sink))?;
        Ok(audit)
    }

    /// Standard output as a sink. `std::io::stdout()` is none: it looks for line ends, and writes a second time.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub fn stdout() -> io::Result<Box<dyn Write + Send>> {
        Ok(Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }

    /// Room for both records of a call, before its limits are asked and its backend is reached. Costs no allocation;
    /// dropped without a start it gives the room back.
    ///
    /// # Errors
    /// With [`OnOverflow::Refuse`], where the sink is blocked or no room is left; at once, without waiting.
    pub fn reserve(&self, overflow: OnOverflow) -> Result<Reservation, Blocked> {
        let has_room = match overflow {
            OnOverflow::Refuse if self.0.is_stalled() => false,
            _ => self.0.take_room(Reservation::ROOM),
        };
        match overflow {
            OnOverflow::Refuse if !has_room => Err(Blocked),
            _ => Ok(Reservation::new(self.0.clone(), has_room, overflow)),
        }
    }

    /// Writes a record that is no call's. Of equal ones within a second the first ten are written each, the rest as one
    /// with a `count`. Records of the server's own doings are taken even while the sink is blocked.
    ///
    /// # Errors
    /// As [`Audit::reserve`].
    pub fn record(&self, record: &Record<'_>, overflow: OnOverflow) -> Result<(), Blocked> {
        let mut body = Body::with_capacity(256);
        let event = body.record(record);
        let is_our_own =
            matches!(event, Event::ServerStarted | Event::ServerStopping | Event::PolicyLoaded | Event::PolicyRefused);
        let is_stalled = !is_our_own && overflow == OnOverflow::Refuse && self.0.is_stalled();
        let has_room = is_our_own || (!is_stalled && self.0.has_room(ROOM_OF_RECORD));
        if !has_room && overflow == OnOverflow::Refuse {
            return Err(Blocked);
        }
        let waiting = &mut *self.0.lock();
        self.0.write_tally(waiting);
        if !has_room {
            self.0.drop_record(waiting);
        } else if waiting.tally.count(event, &body.0) == TallyDecision::Write {
            self.0.push(waiting, event, &body.0, 0);
        }
        Ok(())
    }

    /// Records a failed authentication. Never blocks and never takes room from others: strangers have a small room of their
    /// own, and what finds none is counted.
    pub fn unauthenticated(&self, failed: &AuthFailed) {
        let (mut body, mut anonymous) = (Body::with_capacity(128), Body::with_capacity(128));
        body.auth_failed(failed, true);
        anonymous.auth_failed(failed, false);
        let waiting = &mut *self.0.lock();
        self.0.write_tally(waiting);
        let has_room = waiting.unauthenticated + ROOM_OF_RECORD <= SIDE_ROOM;
        if waiting.tally.count_unauthenticated(has_room, &body.0, &anonymous.0) == TallyDecision::Write {
            let before = waiting.lines.len();
            self.0.push(waiting, Event::AuthFailed, &body.0, 0);
            waiting.unauthenticated += waiting.lines.len() - before;
        }
    }

    /// Whether records cannot be written now (for `/health`).
    pub fn is_blocked(&self) -> bool {
        self.0.is_stalled() || !self.0.has_room(Reservation::ROOM)
    }

    /// How many records were lost since the start (for the metric).
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// As each record has it.
    pub fn instance(&self) -> &str {
        &self.0.options.instance
    }

    /// A `tracing` layer that writes program logs between the records. Own targets from `level` up, those of libraries
    /// from `warn` up.
    pub fn program_log(&self, level: tracing::Level) -> ProgramLog {
        ProgramLog::new(self.0.clone(), level)
    }

    /// Writes what there is and ends the writer; blocks the thread, at most `within`. Says whether everything was written.
    pub fn stop(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut waiting = self.0.lock();
        waiting.stopping = true;
        self.0.wake.notify_all();
        while !waiting.stopped {
            if self.0.wake.wait_until(&mut waiting, until).timed_out() {
                return waiting.stopped;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
