use super::{Dimension, Moment, OverLimit};

/// The limits of this process.
#[derive(Default)]
pub struct Limiter {}

impl Limiter {
    /// Takes one admission from every dimension, or, if one of them is used up, from none.
    /// At most eight dimensions, in any order. Never blocks for longer than a few map look-ups.
    ///
    /// # Errors
    /// The dimension that holds longest, and for how long.
    pub fn admit(&self, dimensions: &[Dimension], now: Moment) -> Result<(), OverLimit> {
        let _ = (dimensions, now);
        unimplemented!()
    }
}
