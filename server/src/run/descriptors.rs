//! The descriptors (open files) of the process, and who may use how many of them.
//!
//! Connections of strangers must never take the descriptors that a reload, the admin port or a backend needs: a revocation would
//! wait until they are closed. So the limit is raised as far as the process may, and divided before anything is served.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the documents, the directory watch, the logs, the listeners, the runtime, and what libraries open for a moment.
const RESERVE: usize = 64;
/// No more than this is asked for or planned with.
const PLENTY: u64 = 1 << 20;
/// The connections that the main port must be able to have.
const LEAST_CONNECTIONS: usize = 32;

/// How many connections each part of the server may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The limit of the process.
    pub limit: usize,
    pub main: usize,
    pub admin: usize,
    /// Of all backends together.
    pub backends: usize,
}

/// The limit is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process may open {limit} files (RLIMIT_NOFILE), and needs at least {needed}")]
pub struct TooFew {
    limit: usize,
    needed: usize,
}

impl Descriptors {
    /// Raises the limit of this process to the highest that it may set, and divides it.
    ///
    /// # Errors
    /// Returns an error if the limit is too low.
    pub fn raise() -> Result<Self, TooFew> {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let limit = current.unwrap_or(PLENTY);
        let highest = maximum.unwrap_or(PLENTY).min(PLENTY);
        let raised = Rlimit { current: Some(highest), maximum };
        let limit = if highest > limit && setrlimit(Resource::Nofile, raised).is_ok() { highest } else { limit };
        Self::of(usize::try_from(limit.min(PLENTY)).unwrap_or(usize::MAX))
    }

    /// The parts of a limit: a quarter is left to backends and a sixteenth to the admin port, up to what they can use.
    fn of(limit: usize) -> Result<Self, TooFew> {
        let backends = (limit / 4).min(4096);
        let admin = (limit / 16).min(256);
        match limit.checked_sub(RESERVE + backends + admin) {
            Some(main) if main >= LEAST_CONNECTIONS => Ok(Self { limit, main, admin, backends }),
            _ => Err(TooFew { limit, needed: (RESERVE + LEAST_CONNECTIONS) * 16 / 11 + 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_leave_a_reserve_of_every_limit() {
        let of = |limit| Descriptors::of(limit);
        assert_eq!(of(256), Ok(Descriptors { limit: 256, main: 112, admin: 16, backends: 64 }));
        assert_eq!(of(1024), Ok(Descriptors { limit: 1024, main: 640, admin: 64, backends: 256 }));
        assert_eq!(of(1 << 20), Ok(Descriptors { limit: 1 << 20, main: (1 << 20) - 4416, admin: 256, backends: 4096 }));
        let needed = (0..).find(|limit| of(*limit).is_ok()).unwrap();
        assert!(needed <= 140, "{needed}");
        let error = of(needed - 1).unwrap_err();
        assert!(error.needed >= needed && of(error.needed).is_ok(), "{error}");
        for limit in needed..2048 {
            let Descriptors { main, admin, backends, .. } = of(limit).unwrap();
            assert_eq!((main + admin + backends + RESERVE, backends), (limit, limit / 4));
        }
    }
}
