mod credentials;
mod frozen;
mod policy;

use crate::Findings;

/// Each finding as a line.
fn lines(findings: &Findings) -> Vec<String> {
    findings.0.iter().map(ToString::to_string).collect()
}
