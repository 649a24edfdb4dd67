//! The audit log as the rest of the server uses it.

use std::{
    io::{self, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use portcullis_crds::contract::OnOverflow;

use super::{
    line::Body,
    program_log::ProgramLog,
    queue::{Blocked, Options, Queue, SIDE_ROOM},
    record::{AuthFailed, Event, Record},
    reservation::Reservation,
    tally::TallyDecision,
    writer,
};

/// The audit log of this process. Clones share it.
#[derive(Clone)]
pub struct Audit(Arc<Queue>);

/// Room for a record that does not belong to a call: names and numbers, all bounded by the policy's schema.
const ROOM_OF_RECORD: usize = 2 * 1024;

impl Audit {
    /// Starts the writer thread. The sink must be in blocking mode.
    ///
    /// # Errors
    /// Returns an error if the system cannot create a thread.
    pub fn start(sink: Box<dyn Write + Send>, options: Options) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(options));
        let audit = Self(queue.clone());
        thread::Builder::new().name("audit".into()).spawn(move || writer::run(&queue, sink))?;
        Ok(audit)
    }

    /// Reserves room for both records of a call, before its limits are checked and its backend is called. Allocates nothing; the
    /// room is given back if the reservation is dropped without a start.
    ///
    /// # Errors
    /// With [`OnOverflow::Refuse`], returns an error at once if the sink is blocked or no room is left.
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

    /// Writes a record that does not belong to a call. Of equal records within a second the first ten are written one by one,
    /// and the rest as one record with a `count`. Records about the server itself are taken even while the sink is blocked.
    ///
    /// # Errors
    /// As [`Audit::reserve`].
    pub fn record(&self, record: &Record<'_>, overflow: OnOverflow) -> Result<(), Blocked> {
        let mut body = Body::with_capacity(256);
        let event = body.record(record);
        let is_of_server =
            matches!(event, Event::ServerStarted | Event::ServerStopping | Event::PolicyLoaded | Event::PolicyRefused);
        let is_stalled = !is_of_server && overflow == OnOverflow::Refuse && self.0.is_stalled();
        let has_room = is_of_server || (!is_stalled && self.0.has_room(ROOM_OF_RECORD));
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

    /// Records a failed authentication. Never blocks, and never takes room from other records: unauthenticated callers have a
    /// small room of their own, and what does not fit into it is counted.
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

    /// The name of this process in each record.
    pub fn instance(&self) -> &str {
        &self.0.options.instance
    }

    /// A `tracing` layer that writes program logs between the records: those of this server from `level` up, those of libraries
    /// from `warn` up.
    pub fn program_log(&self, level: tracing::Level) -> ProgramLog {
        ProgramLog::new(self.0.clone(), level)
    }

    /// Waits until the writer has failed and is not started again. From then on the log is blocked.
    pub async fn failed(&self) {
        // The sender lives as long as the queue.
        let _ = self.0.failed.subscribe().wait_for(|has_failed| *has_failed).await;
    }

    /// Writes everything that waits and ends the writer. Blocks the thread for at most `within`; returns whether everything was
    /// written.
    pub fn stop(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut waiting = self.0.lock();
        waiting.stopping = true;
        self.0.wake.notify_all();
        while !waiting.stopped {
            if *self.0.failed.borrow() {
                return false;
            }
            if self.0.wake.wait_until(&mut waiting, until).timed_out() {
                return waiting.stopped;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
