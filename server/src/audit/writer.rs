//! The thread that writes: it gathers lines for a moment, and writes them in pieces that a pipe takes whole.

use std::{
    io::{ErrorKind, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;

use super::{
    line::Body,
    queue::{Queue, SIDE_ROOM, Waiting},
    record::Event,
};

/// Small enough that a sink which takes anything at all takes one within a second.
const PIECE: usize = 32 * 1024;
/// More than this is not gathered, and not kept when it was written.
const USUAL_BATCH: usize = 1024 * 1024;
/// Between attempts, where the sink fails.
const PAUSE: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn run(queue: &Arc<Queue>, mut sink: Box<dyn Write + Send>) {
    let mut batch = Vec::new();
    loop {
        let mut waiting = queue.lock();
        sleep_until_there_is_something(queue, &mut waiting);
        gather(queue, &mut waiting);
        queue.write_tally(&mut waiting);
        std::mem::swap(&mut waiting.lines, &mut batch);
        (waiting.unauthenticated, waiting.logs, waiting.urgent) = (0, 0, false);
        let (last, is_last) = (waiting.seq, waiting.stopping);
        drop(waiting);

        write(queue, &mut *sink, &batch);
        batch.clear();
        if batch.capacity() > USUAL_BATCH {
            batch = Vec::new();
        }
        queue.written.send_replace(last);

        let waiting = &mut *queue.lock();
        queue.report_dropped(waiting);
        if is_last && waiting.lines.is_empty() {
            waiting.stopped = true;
            queue.wake.notify_all();
            return;
        }
    }
}

fn sleep_until_there_is_something(queue: &Queue, waiting: &mut MutexGuard<'_, Waiting>) {
    while waiting.lines.is_empty() && !waiting.stopping && !(waiting.tally.is_due() && waiting.tally.is_holding()) {
        waiting.asleep = true;
        if waiting.tally.is_holding() {
            queue.wake.wait_for(waiting, SECOND);
        } else {
            queue.wake.wait(waiting);
        }
        waiting.asleep = false;
    }
}

fn gather(queue: &Queue, waiting: &mut MutexGuard<'_, Waiting>) {
    let until = Instant::now() + queue.options.batch;
    while !waiting.urgent && !waiting.stopping && waiting.lines.len() < USUAL_BATCH {
        if queue.wake.wait_until(waiting, until).timed_out() {
            return;
        }
    }
}

/// Writes all of it, however long that takes: what was admitted is not lost. Whether it takes too long, others look.
fn write(queue: &Queue, sink: &mut dyn Write, batch: &[u8]) {
    for piece in batch.chunks(PIECE) {
        let mut rest = piece;
        queue.begin_write();
        while !rest.is_empty() {
            match sink.write(rest) {
                Ok(written) if written > 0 => {
                    queue.give_room(written);
                    rest = &rest[written..];
                    queue.begin_write();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A sink that fails may be there again: its pipe's reader restarted, its disk emptied.
                Ok(_) | Err(_) => thread::sleep(PAUSE),
            }
        }
    }
    while !batch.is_empty() && sink.flush().is_err() {
        thread::sleep(PAUSE);
    }
    queue.end_write();
}

impl Queue {
    /// When a second is over, or all is: the counts of records that were held in it.
    pub(super) fn write_tally(&self, waiting: &mut Waiting) {
        if !waiting.tally.is_due() && !waiting.stopping {
            return;
        }
        for (event, body, count) in waiting.tally.drain() {
            if event == Event::AuthFailed && waiting.unauthenticated > SIDE_ROOM && !waiting.stopping {
                waiting.tally.hold(event, &body, count);
                continue;
            }
            let mut counted = Body(body.into_vec());
            counted.number("count", count);
            let before = waiting.lines.len();
            self.push(waiting, event, &counted.0, 0);
            if event == Event::AuthFailed {
                waiting.unauthenticated += waiting.lines.len() - before;
            }
        }
    }

    fn report_dropped(&self, waiting: &mut Waiting) {
        if waiting.unreported > 0 {
            let mut body = Body::default();
            body.number("count", std::mem::take(&mut waiting.unreported));
            self.push(waiting, Event::RecordsDropped, &body.0, 0);
        }
    }
}
