//! The one place that randomness comes from.

use aws_lc_rs::rand;

/// Random bytes that keys may be made of.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system must have randomness");
    bytes
}
