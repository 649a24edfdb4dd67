//! A call whose outcome is known and whose answer is on its way.

use crate::{
    audit::Reservation,
    limiter::InFlightGuard,
    net::{Held, Share},
};

/// What a call holds until its answer was delivered: its place among the calls in flight, its bytes, and the record of its end. If this is
/// dropped before, the answer was given up, and the record says so.
pub struct Delivery {
    pub(super) room: Reservation,
    pub(super) _in_flight: InFlightGuard,
    /// Its bytes, if there are many.
    pub(super) _share: Option<Share>,
}

impl Delivery {
    /// The id of the call, as its audit records have it.
    pub fn execution_id(&self) -> &str {
        self.room.execution_id()
    }
}

impl Held for Delivery {
    fn written(&mut self) {
        self.room.delivered();
    }
}
