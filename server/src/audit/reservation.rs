use super::{
    handle::Blocked,
    record::{CallEnd, CallStart},
};

/// Room for the two records of one call, and the promise that the second follows the first: whoever drops this after a
/// start without an end records `disconnected`.
#[must_use = "the records are written through it"]
pub struct Reservation {}

impl Reservation {
    /// The id of the call: the instance and a number. Unique, and no secret.
    pub fn execution_id(&self) -> String {
        unimplemented!()
    }

    /// Records the start; the call's duration counts from here. Never blocks.
    pub fn start(&mut self, call: &CallStart<'_>) {
        let _ = call;
        unimplemented!()
    }

    /// Waits until the start is written: before the backend of a Write is called.
    ///
    /// # Errors
    /// With `Overflow::Refuse`, where it is not written within a second; the end was recorded as `auditBlocked` then.
    pub async fn written(&mut self) -> Result<(), Blocked> {
        unimplemented!()
    }

    /// Records the end. Never blocks and never fails: its room was reserved.
    pub fn end(self, end: &CallEnd<'_>) {
        let _ = end;
        unimplemented!()
    }
}
