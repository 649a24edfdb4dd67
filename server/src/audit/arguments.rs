//! What is recorded of a call's arguments: the names that the tool declares, their types and sizes, and a keyed digest of
//! all of them. Values are recorded only where the policy lists the argument, and then only of closed types.

use crate::protocol::strict::Node;

/// What may be said of a tool's arguments. Built once per tool and policy.
#[derive(Clone, Debug, Default)]
pub struct Declared {}

/// The arguments of one call, ready for its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {}

/// Makes digests of arguments that only the holder of the key can compare: equal arguments have equal digests.
#[derive(Clone)]
pub struct DigestKey {}

impl DigestKey {
    /// The same key on all replicas of a server makes digests comparable.
    pub fn new(key: &[u8]) -> Self {
        let _ = key;
        unimplemented!()
    }

    /// With a key of its own: digests compare within this process only.
    pub fn random() -> Self {
        unimplemented!()
    }
}

impl Declared {
    /// `names` are the properties of the tool's schema; `values` those of them whose value is recorded too, where it is a
    /// boolean, a number, or a string of at most 64 bytes (the policy admits closed strings only).
    pub fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let _ = (names.into_iter().count(), values.into_iter().count());
        unimplemented!()
    }

    /// `arguments` as they were sent (before a limit is injected or clamped).
    pub fn describe(&self, arguments: &Node<'_>, key: &DigestKey) -> Arguments {
        let _ = (arguments, key);
        unimplemented!()
    }
}
