//! The operator on a real API server, with the rights of its own account. No kubelet: pods stay pending, or are played.

mod apply;
mod clients;
mod confirm;
mod gate;
mod killed;
mod kubelet;
mod refused;
mod world;
