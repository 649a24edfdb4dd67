//! The only source of randomness.

use aws_lc_rs::rand;

/// Random bytes, fit to make keys of.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system must provide randomness");
    bytes
}
