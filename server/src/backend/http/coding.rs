//! The content codings of responses (RFC 9110 section 8.4.1): gzip, which is asked for, and deflate, which some services use all the same.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::backend::failure::Failure;

/// Decodes a body piece by piece. What comes of a piece is bounded, however far it unfolds.
pub enum Coding {
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// Deflate, of which nothing was read yet.
    Deflate,
    Zlib(ZlibDecoder<Vec<u8>>),
    /// Deflate without the header of zlib.
    Raw(DeflateDecoder<Vec<u8>>),
}

impl Coding {
    /// The coding of this name, if it is supported.
    pub fn of(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match () {
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip(MultiGzDecoder::new(Vec::new()))),
            () if is("deflate") => Some(Self::Deflate),
            () => None,
        }
    }

    /// Decodes the beginning of some bytes. Returns how many were read, and what came of them: at most 32 KiB.
    ///
    /// # Errors
    /// Returns an error if they are not encoded as the response says.
    pub fn decode(&mut self, data: &[u8]) -> Result<(usize, Vec<u8>), Failure> {
        if let (Self::Deflate, Some(first)) = (&*self, data.first()) {
            // The method of zlib. Without its header this would be a stored block whose padding is not zero.
            *self = match first & 0x0f == 8 {
                true => Self::Zlib(ZlibDecoder::new(Vec::new())),
                false => Self::Raw(DeflateDecoder::new(Vec::new())),
            };
        }
        let (read, decoded) = match self {
            Self::Gzip(decoder) => (decoder.write(data), std::mem::take(decoder.get_mut())),
            Self::Zlib(decoder) => (decoder.write(data), std::mem::take(decoder.get_mut())),
            Self::Raw(decoder) => (decoder.write(data), std::mem::take(decoder.get_mut())),
            Self::Deflate => (Ok(0), Vec::new()),
        };
        match read {
            Ok(read) if read > 0 || !decoded.is_empty() => Ok((read, decoded)),
            _ => Err(Failure::Malformed),
        }
    }

    /// What is left of it.
    ///
    /// # Errors
    /// Returns an error if the body is incomplete.
    pub fn end(self) -> Result<Vec<u8>, Failure> {
        let rest: io::Result<_> = match self {
            Self::Gzip(mut decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
            Self::Zlib(decoder) => decoder.finish(),
            Self::Raw(decoder) => decoder.finish(),
            Self::Deflate => Ok(Vec::new()),
        };
        rest.map_err(|_| Failure::Malformed)
    }
}
