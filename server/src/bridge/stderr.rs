//! What is printed: what the bridge says, and within bounds what processes write to standard error.
//!
//! A thread of its own prints, so that nothing waits for whoever reads it. What it cannot keep up with is left out.

use std::{
    io::{self, Write},
    sync::mpsc::{self, SyncSender},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line, in bytes. The rest of a longer one is left out.
const MAX_LINE: usize = 4096;
/// What one process may print in a span, in bytes.
const MAX_BYTES: usize = 64 * 1024;
const SPAN: Duration = Duration::from_secs(10);
/// The lines that may wait to be printed.
const WAITING: usize = 1024;

/// Prints lines to standard error. Clones print to the same.
#[derive(Clone)]
pub struct Printer {
    lines: SyncSender<Option<String>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Printer {
    pub fn start() -> Self {
        let (lines, received) = mpsc::sync_channel::<Option<String>>(WAITING);
        let thread = thread::spawn(move || {
            while let Ok(Some(line)) = received.recv() {
                let _ = io::stderr().write_all(line.as_bytes());
            }
        });
        Self { lines, thread: Arc::new(Mutex::new(Some(thread))) }
    }

    /// Prints a line, unless too many wait.
    pub fn line(&self, text: &str) {
        let _ = self.lines.try_send(Some(format!("{text}\n")));
    }

    /// Waits for what was printed before, for as long as there is room for the end of it: nobody may be reading.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.lines.try_send(None).is_ok()
            && let Some(thread) = thread
        {
            let _ = thread.join();
        }
    }
}

/// Reads all that a process writes to standard error, and prints what is within the bounds.
pub async fn drain(mut output: impl AsyncRead + Unpin, number: u64, printer: Printer) {
    let (mut lines, mut bytes) = (Lines::new(number), vec![0; 8192]);
    while let Ok(read @ 1..) = output.read(&mut bytes).await {
        lines.push(&bytes[..read], Instant::now(), |line| printer.line(line));
    }
    lines.finish(|line| printer.line(line));
}

/// Splits what a process writes into lines.
struct Lines {
    number: u64,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// When the span began, and what was printed in it.
    span: Option<Instant>,
    printed: usize,
    /// The lines that were left out in the span.
    omitted: u64,
}

impl Lines {
    fn new(number: u64) -> Self {
        Self { number, line: Vec::new(), span: None, printed: 0, omitted: 0 }
    }

    fn push(&mut self, bytes: &[u8], now: Instant, mut print: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if part.ends_with(b"\n") {
                self.print(now, &mut print);
            }
        }
    }

    fn print(&mut self, now: Instant, print: &mut impl FnMut(&str)) {
        if self.span.is_none_or(|began| now.duration_since(began) >= SPAN) {
            self.report(print);
            (self.span, self.printed) = (Some(now), 0);
        }
        let line = std::mem::take(&mut self.line);
        if self.printed + line.len() > MAX_BYTES {
            self.omitted += 1;
            return;
        }
        self.printed += line.len() + 1;
        // A terminal must not obey what a process writes.
        let text: String = String::from_utf8_lossy(&line)
            .chars()
            .map(|it| if it.is_control() && it != '\t' { ' ' } else { it })
            .collect();
        print(&format!("process {}: {text}", self.number));
    }

    fn finish(mut self, mut print: impl FnMut(&str)) {
        if !self.line.is_empty() {
            let now = self.span.unwrap_or_else(Instant::now);
            self.print(now, &mut print);
        }
        self.report(&mut print);
    }

    fn report(&mut self, print: &mut impl FnMut(&str)) {
        if self.omitted > 0 {
            print(&format!("process {}: {} lines were left out", self.number, self.omitted));
            self.omitted = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_in_length_and_in_number_and_what_is_left_out_is_counted() {
        let (mut lines, mut printed, began) = (Lines::new(7), Vec::new(), Instant::now());
        lines.push(b"one\ntw", began, |line| printed.push(line.to_owned()));
        lines.push(b"o\n\x1b[2Jred\xff\n", began, |line| printed.push(line.to_owned()));
        lines.push(&[b'x'; MAX_LINE * 3], began, |line| printed.push(line.to_owned()));
        lines.push(b"\n", began, |line| printed.push(line.to_owned()));
        assert_eq!(printed[..3], ["process 7: one", "process 7: two", "process 7:  [2Jred\u{fffd}"]);
        assert_eq!(printed[3], format!("process 7: {}", "x".repeat(MAX_LINE)));

        printed.clear();
        let flood = [b"y".repeat(99), b"\n".to_vec()].concat().repeat(1000);
        lines.push(&flood, began, |line| printed.push(line.to_owned()));
        let kept = printed.len();
        assert!(kept * 100 <= MAX_BYTES && kept * 100 > MAX_BYTES / 2, "{kept}");
        lines.push(b"later\nend", began + SPAN, |line| printed.push(line.to_owned()));
        lines.finish(|line| printed.push(line.to_owned()));
        let rest = [
            format!("process 7: {} lines were left out", 1000 - kept),
            "process 7: later".into(),
            "process 7: end".into(),
        ];
        assert_eq!(printed[kept..], rest);
    }
}
