//! The two records of a call.

use std::{mem, sync::Arc, time::Instant};

use portcullis_crds::contract::{Effect, OnOverflow};

use super::{
    fields::Field,
    line::Body,
    queue::{Blocked, Queue},
    record::{CallEnd, CallError, CallStart, Event},
};
use crate::protocol::{
    json::{Buffer, push_number},
    trace::TraceContext,
};

/// The most bytes of a start record: the longest names that the policy's schema allows, and the shape of the arguments.
const ROOM_OF_START: usize = 5 * 1024;
const ROOM_OF_END: usize = 2 * 1024;

/// Room for the two records of one call, and the promise that the second follows the first: if this is dropped after the start
/// and before the outcome, the end is recorded as `disconnected`; if it is dropped after the outcome, the end is recorded with it, and
/// as not delivered.
#[must_use = "the records are written through it"]
pub struct Reservation {
    queue: Arc<Queue>,
    execution_id: String,
    has_room: bool,
    overflow: OnOverflow,
    state: State,
}

enum State {
    Reserved,
    Started {
        at: Instant,
        common: Body,
        seq: u64,
    },
    /// The outcome is known, and its answer is on its way to the caller.
    Concluded {
        event: Event,
        body: Body,
    },
    Ended,
}

impl Reservation {
    pub(super) const ROOM: usize = ROOM_OF_START + ROOM_OF_END;

    pub(super) fn new(queue: Arc<Queue>, has_room: bool, overflow: OnOverflow) -> Self {
        let instance = &queue.options.instance;
        let mut execution_id = String::with_capacity(instance.len() + 21);
        execution_id.push_text(instance);
        execution_id.push_text("-");
        push_number(&mut execution_id, queue.next_call());
        Self { queue, execution_id, has_room, overflow, state: State::Reserved }
    }

    /// The id of the call: the instance and a number. It is unique and not secret.
    pub fn execution_id(&self) -> &str {
        &self.execution_id
    }

    /// Records the start; the call's duration counts from here. Never blocks. A second start is ignored.
    pub fn start(&mut self, call: &CallStart<'_>) {
        if !matches!(self.state, State::Reserved) {
            return;
        }
        let mut body = Body::with_capacity(768);
        body.text(Field::ExecutionId, &self.execution_id).optional(Field::TraceId, call.trace.map(TraceContext::id));
        body.who(&call.who).text(Field::ToolName, call.tool);
        let common = body.0.len();
        body.text(Field::Effect, if call.effect == Effect::Write { "Write" } else { "Read" })
            .text(Field::Decision, "allowed");
        if let Some(arguments) = call.arguments {
            body.raw(Field::Args, &arguments.fields);
        }
        let seq = self.write(Event::ToolCallStart, &body, ROOM_OF_START, call.effect == Effect::Write);
        body.0.truncate(common);
        self.state = State::Started { at: Instant::now(), common: body, seq };
    }

    /// Waits until the start is written, which is required before the backend of a tool that writes is called. With
    /// [`OnOverflow::Drop`] it does not wait for a sink that is known to be blocked.
    ///
    /// # Errors
    /// With [`OnOverflow::Refuse`], returns an error if the start is not written within a second; the end was then recorded as
    /// `audit_blocked`.
    pub async fn written(&mut self) -> Result<(), Blocked> {
        let State::Started { seq, .. } = self.state else {
            return Ok(());
        };
        if !self.has_room || (self.overflow == OnOverflow::Drop && self.queue.is_stalled()) {
            return Ok(());
        }
        let mut written = self.queue.written.subscribe();
        let wait = tokio::time::timeout(self.queue.options.blocked_after, written.wait_for(|last| *last >= seq));
        if wait.await.is_err() && self.overflow == OnOverflow::Refuse {
            self.finish(&CallEnd::Error(CallError::AuditBlocked));
            return Err(Blocked);
        }
        Ok(())
    }

    /// The outcome is known: the call's duration ends here. Its record follows when the answer was delivered or given up, so that
    /// a call is in flight for the log as long as it is for the server.
    pub fn conclude(&mut self, end: &CallEnd<'_>) {
        let (at, mut body) = match mem::replace(&mut self.state, State::Ended) {
            State::Started { at, common, .. } => (at, common),
            other => {
                self.state = other;
                return;
            }
        };
        body.millis(Field::DurationMs, at.elapsed().as_micros());
        let event = body.end(end);
        self.state = State::Concluded { event, body };
    }

    /// Records the end: the caller was sent the whole answer. Never blocks and never fails: its room was reserved.
    pub fn delivered(&mut self) {
        self.record_end(true);
    }

    fn record_end(&mut self, is_delivered: bool) {
        if let State::Concluded { event, body } = &mut self.state {
            let event = *event;
            let mut body = mem::take(body);
            self.state = State::Ended;
            if !is_delivered {
                body.raw(Field::Delivered, "false");
            }
            self.write(event, &body, ROOM_OF_END, false);
        }
    }

    /// Records the end of a call whose answer was delivered.
    #[cfg(test)]
    pub fn end(mut self, end: &CallEnd<'_>) {
        self.finish(end);
    }

    fn finish(&mut self, end: &CallEnd<'_>) {
        self.conclude(end);
        self.record_end(true);
    }

    fn write(&self, event: Event, body: &Body, room: usize, urgent: bool) -> u64 {
        let waiting = &mut *self.queue.lock();
        if !self.has_room {
            self.queue.drop_record(waiting);
            return 0;
        }
        let seq = self.queue.push(waiting, event, &body.0, room);
        if urgent && !waiting.urgent {
            waiting.urgent = true;
            self.queue.wake.notify_all();
        }
        seq
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match self.state {
            State::Reserved if self.has_room => self.queue.give_room(Self::ROOM),
            State::Started { .. } => self.finish(&CallEnd::Error(CallError::Disconnected)),
            State::Concluded { .. } => self.record_end(false),
            State::Reserved | State::Ended => {}
        }
    }
}
