//! Maps and sets that are looked up for each call.
//!
//! Their keys are names in a policy and digests, neither of which a caller can choose, so that a faster hash than that of the standard
//! library suffices.

use std::collections;

use foldhash::fast::RandomState;

pub type HashMap<K, V> = collections::HashMap<K, V, RandomState>;
pub type HashSet<K> = collections::HashSet<K, RandomState>;
