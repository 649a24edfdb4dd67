//! The writer thread: it gathers lines for a moment, and writes them in pieces that a pipe takes whole.

use std::{
    io::{ErrorKind, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;

use super::queue::{Queue, Waiting};

/// Bytes of one write: few enough that a sink which makes any progress takes them within a second.
const PIECE: usize = 32 * 1024;
/// Bytes that are gathered at most, and the largest buffer that is kept for the next batch.
const USUAL_BATCH: usize = 1024 * 1024;
/// The pause between two attempts if the sink fails.
const PAUSE: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn run(queue: &Arc<Queue>, mut sink: Box<dyn Write + Send>) {
    let mut batch = Vec::new();
    loop {
        let mut waiting = queue.lock();
        wait_for_lines(queue, &mut waiting);
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

fn wait_for_lines(queue: &Queue, waiting: &mut MutexGuard<'_, Waiting>) {
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

/// Writes the whole batch, however long that takes: an admitted record is not lost. The queue sees when it takes too long.
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
                // A sink that fails may recover: the reader of its pipe restarts, or its disk is freed.
                Ok(_) | Err(_) => thread::sleep(PAUSE),
            }
        }
    }
    while !batch.is_empty() && sink.flush().is_err() {
        thread::sleep(PAUSE);
    }
    queue.end_write();
}
