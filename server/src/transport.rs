//! Bytes to a request, and an outcome to bytes. What may be done is left to the guard.

pub mod streamable;
