//! What a person sees: events on stdout, problems on stderr. A closed stream changes nothing.

use std::io::{self, Write};

/// Prints an event.
pub(super) fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints a problem.
pub(super) fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
