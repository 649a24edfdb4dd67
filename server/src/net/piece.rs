//! The pieces of answers, as HTTP holds them.

use bytes::{Buf, Bytes};

use super::response_body::Account;

/// A piece of an answer, from when it is handed over until it was written to the socket, or its stream was reset.
///
/// It shares the bytes of the answer. The last piece answers for all of them: its peer may read it long after the request ended.
pub struct Piece {
    bytes: Bytes,
    account: Option<Account>,
}

impl Piece {
    /// A piece, with the account of its answer if it is the last.
    pub(super) fn new(bytes: Bytes, account: Option<Account>) -> Self {
        Self { bytes, account }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if self.bytes.is_empty()
            && let Some(account) = self.account.take()
        {
            account.written();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    };

    use super::*;
    use crate::{
        fingerprint::Fingerprint,
        net::{Budget, Held, ResponseBody},
    };

    struct Written(Arc<AtomicBool>);

    impl Held for Written {
        fn written(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    #[test]
    fn an_answer_is_written_with_the_last_byte_of_its_last_piece_and_its_bytes_count_until_then() {
        let (budget, is_written) = (Budget::new(10, 10), Arc::<AtomicBool>::default());
        let last = || {
            let mut share = budget.share(Fingerprint::of(&["one"]));
            assert_eq!(share.grow(10), Ok(()));
            let mut body = ResponseBody::whole("0123456789");
            body.taken_from(share);
            body.holding(Box::new(Written(is_written.clone())));
            Piece::new("89".into(), Some(body.take_account()))
        };
        let state = || (is_written.load(Relaxed), budget.held());
        let mut given_up = last();
        given_up.advance(1);
        assert_eq!(state(), (false, 10));
        drop(given_up);
        assert_eq!(state(), (false, 0));
        let mut piece = last();
        piece.advance(2);
        assert_eq!((state(), piece.remaining()), ((true, 0), 0));
    }
}
