//! The content of a condition that is not written into a status yet.

use portcullis_crds::condition::Reason;

/// The `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition without its type, and without the time of its last transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionState {
    pub status: ConditionStatus,
    pub reason: Reason,
    pub message: String,
}

impl ConditionState {
    pub fn new(status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    pub fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::True, reason, message)
    }

    pub fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::False, reason, message)
    }

    pub fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::Unknown, reason, message)
    }

    /// The reason's own sentence is the message of a condition that has nothing to add to it.
    pub fn of_reason(status: ConditionStatus, reason: Reason) -> Self {
        Self::new(status, reason, reason.sentence())
    }

    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}
