//! What keeps an operator from its Lease, and when it goes on without one.
//!
//! A revocation must not wait for a Lease that cannot be had. If the API server answers, and yet refuses the Lease again and again,
//! the operator goes on without it. If the API server is away, nothing can be written either, and the operator waits: another one may
//! be able to reach it.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Error;

/// How long the Lease is refused before the operator goes on without it: rights that are granted together with the operator may be
/// known a little later, and it is shorter than what is left of a term when a renewal fails for the first time.
pub const REFUSED_FOR: Duration = Duration::from_secs(5);
/// The same if it is forbidden. By then the rights are missing, and not only new. Nothing is written before that, and that other
/// operators may write is no danger to documents: each write of one replaces one version of it only.
const FORBIDDEN_FOR: Duration = Duration::from_secs(1);
/// How often it is refused at least.
const REFUSALS: u32 = 2;
/// How often the log repeats that the Lease cannot be had.
const REMIND: Duration = Duration::from_secs(60);

/// Why an attempt failed.
#[derive(Debug)]
pub struct Failed {
    pub error: Error,
    /// Whether the API server answers, but does not let the Lease be read or written.
    pub is_refusal: bool,
}

impl Failed {
    /// The Lease could not be read.
    pub fn unread(error: Error) -> Self {
        Self { is_refusal: error.is_permanent() || matches!(error.status_code(), Some(404 | 429)), error }
    }

    /// The Lease could not be written, although it was read just before.
    pub fn unwritten(error: Error) -> Self {
        Self { error, is_refusal: true }
    }
}

/// The failures since the Lease, or another holder of it, was there.
#[derive(Debug, Default)]
pub struct Trouble {
    refused_since: Option<Instant>,
    refusals: u32,
    warned_at: Option<Instant>,
}

impl Trouble {
    pub fn is_over(&mut self) {
        *self = Self::default();
    }

    /// Notes an attempt that failed. Returns whether the Lease was refused for long enough.
    pub fn note(&mut self, failed: &Failed, began: Instant) -> bool {
        if failed.is_refusal {
            let since = *self.refused_since.get_or_insert(began);
            self.refusals += 1;
            let is_forbidden = failed.error.status_code() == Some(403);
            let patience = if is_forbidden { FORBIDDEN_FOR } else { REFUSED_FOR };
            return self.refusals >= REFUSALS && since.elapsed() >= patience;
        }
        false
    }

    /// Whether it is time to warn.
    pub fn warns(&mut self) -> bool {
        let warns = self.warned_at.is_none_or(|at| at.elapsed() >= REMIND);
        if warns {
            self.warned_at = Some(Instant::now());
        }
        warns
    }
}

/// What a person can do about it.
pub fn hint(error: &Error) -> &'static str {
    match error.is_permanent() {
        true => {
            "; the account of the operator has the rights to it after `portcullis-operator rbac | kubectl apply --server-side -f -`"
        }
        false => "",
    }
}
