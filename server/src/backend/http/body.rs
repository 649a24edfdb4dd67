//! The body of a response: decoded to UTF-8 as it arrives, and collected within bounds.
//!
//! What is counted is what the bytes are decoded to, so that a small body that unfolds to a large one costs no more than a large one.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use encoding_rs::{CoderResult, Encoding, UTF_8};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, timeout_at};

use super::{coding::Coding, media};
use crate::{
    backend::failure::Failure,
    net::{Budget, Share},
};

/// The most bytes of a response.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Responses above this size are received only while there is room for them.
pub const SMALL: usize = 64 * 1024;
/// Bytes of large responses that are received at once, of all backends. What does not fit waits, and its backend with it.
const LARGE: usize = 4 * MAX_BYTES;
/// The same for the calls of one identity, so that others have room beside one whose backends are slow.
const LARGE_OF_IDENTITY: usize = 2 * MAX_BYTES;
/// No call waits for longer than this: the longest timeout of a tool.
const PATIENCE: Duration = Duration::from_secs(600);

/// A large response that brings less than this in this time is given up while others wait for room.
const LEAST: usize = 64 * 1024;
const WINDOW: Duration = Duration::from_secs(2);

/// The budget of large responses that are being received.
pub fn budget() -> Budget {
    Budget::new(LARGE_OF_IDENTITY, LARGE)
}

/// From the bytes of a body to UTF-8.
pub struct Decoder {
    coding: Option<Coding>,
    charset: &'static Encoding,
    decoder: encoding_rs::Decoder,
    /// Whether nothing had to be replaced by U+FFFD.
    is_exact: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { coding: None, charset: UTF_8, decoder: UTF_8.new_decoder(), is_exact: true }
    }
}

impl Decoder {
    /// The one for a response with these headers. Without a charset that is known it is UTF-8; a byte order mark has the last word.
    ///
    /// # Errors
    /// Returns an error if the content has an encoding that was not asked for.
    pub fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let encodings =
            headers.get_all(header::CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?").trim());
        let mut coding = None;
        for encoding in encodings.filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"))
        {
            let one = Coding::of(encoding).ok_or(Failure::Malformed)?;
            if coding.replace(one).is_some() {
                return Err(Failure::Malformed);
            }
        }
        let charset = media::charset(headers).and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(UTF_8);
        Ok(Self { coding, charset, decoder: charset.new_decoder(), is_exact: true })
    }

    /// Whether these bytes alone are what they are decoded to.
    fn is_plain(&self, bytes: &[u8]) -> bool {
        const MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
        self.coding.is_none()
            && self.charset == UTF_8
            && !MARKS.iter().any(|mark| bytes.starts_with(mark))
            && std::str::from_utf8(bytes).is_ok()
    }
}

/// A body of at most `max` bytes.
pub struct Collected {
    decoder: Decoder,
    /// The first frame. Most bodies have no more, and it is kept as it is.
    first: Option<Bytes>,
    text: BytesMut,
    max: usize,
}

impl Collected {
    pub fn new(max: usize, decoder: Decoder) -> Self {
        Self { decoder, first: None, text: BytesMut::new(), max }
    }

    /// Reads a body to its end. What was read before an error is kept.
    ///
    /// # Errors
    /// Returns an error if the body is too large or incomplete, or if it is not encoded as it says.
    pub async fn collect<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        mut body: B,
        share: &mut Share,
    ) -> Result<(), Failure> {
        let size = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let is_as_long = self.decoder.coding.is_none() && self.decoder.charset == UTF_8;
        let expected = size.filter(|_| is_as_long).unwrap_or(self.max).min(self.max);
        let mut pace = Pace::new();
        while let Some(frame) = pace.frame(&mut body, share).await? {
            let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            pace.received += data.len();
            match self.first.take() {
                None if !pace.has_begun && self.decoder.is_plain(&data) => {
                    if data.len() > self.max {
                        return Err(Failure::TooLarge);
                    }
                    self.first = Some(data);
                }
                first => {
                    for data in first.into_iter().chain([data]) {
                        self.decode(&data, expected, share, &pace).await?;
                    }
                }
            }
            pace.has_begun = true;
        }
        if self.first.is_none() {
            self.end(expected, share, &pace).await?;
        }
        Ok(())
    }

    /// What was collected, as UTF-8, and whether it is exact: nothing in it was replaced.
    pub fn finish(self, share: &mut Share) -> (Bytes, bool) {
        let text = self.first.unwrap_or_else(|| self.text.freeze());
        share.shrink(text.len());
        (text, self.decoder.is_exact)
    }

    async fn decode(
        &mut self,
        mut data: &[u8],
        expected: usize,
        share: &mut Share,
        pace: &Pace,
    ) -> Result<(), Failure> {
        if self.decoder.coding.is_none() {
            return self.append(data, false, expected, share, pace).await;
        }
        while !data.is_empty()
            && let Some(coding) = &mut self.decoder.coding
        {
            let (read, decoded) = coding.decode(data)?;
            data = &data[read..];
            self.append(&decoded, false, expected, share, pace).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Appends what is left in the decoders.
    async fn end(&mut self, expected: usize, share: &mut Share, pace: &Pace) -> Result<(), Failure> {
        let mut rest = Vec::new();
        if let Some(coding) = self.decoder.coding.take()
            && pace.has_begun
        {
            rest = coding.end()?;
        }
        self.append(&rest, true, expected, share, pace).await
    }

    /// Decodes a piece to UTF-8, and appends it.
    async fn append(
        &mut self,
        mut piece: &[u8],
        is_last: bool,
        expected: usize,
        share: &mut Share,
        pace: &Pace,
    ) -> Result<(), Failure> {
        let mut decoded = [0; 4 * 1024];
        loop {
            let (result, read, written, has_errors) = self.decoder.decoder.decode_to_utf8(piece, &mut decoded, is_last);
            self.decoder.is_exact &= !has_errors;
            piece = &piece[read..];
            let length = self.text.len() + written;
            if length > self.max {
                return Err(Failure::TooLarge);
            }
            if share.is_empty() && length > SMALL {
                share.grow_within(expected, PATIENCE).await.map_err(|_| Failure::Timeout(pace.began.elapsed()))?;
                // Grown by doubling, it would take more than its share.
                self.text.reserve(expected.saturating_sub(self.text.len()));
            }
            // More than the response said: what is not UTF-8 takes three bytes for one.
            if !share.is_empty() && length > expected {
                return Err(Failure::TooLarge);
            }
            self.text.extend_from_slice(&decoded[..written]);
            if result == CoderResult::InputEmpty {
                return Ok(());
            }
        }
    }
}

/// How fast a response arrives.
struct Pace {
    began: Instant,
    window: Instant,
    /// Bytes since the window began.
    received: usize,
    has_begun: bool,
}

impl Pace {
    fn new() -> Self {
        let now = Instant::now();
        Self { began: now, window: now, received: 0, has_begun: false }
    }

    /// The next frame.
    ///
    /// # Errors
    /// Returns an error if the response holds room that others wait for, and arrives too slowly.
    async fn frame<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        body: &mut B,
        share: &Share,
    ) -> Result<Option<Result<Frame<Bytes>, B::Error>>, Failure> {
        loop {
            match timeout_at(self.window + WINDOW, body.frame()).await {
                Ok(frame) => return Ok(frame),
                Err(_) if !share.is_empty() && self.received < LEAST && share.is_waited_for() => {
                    return Err(Failure::Timeout(self.began.elapsed()));
                }
                Err(_) => (self.window, self.received) = (Instant::now(), 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures::StreamExt;
    use http::{HeaderName, HeaderValue};
    use http_body_util::StreamBody;

    use super::*;
    use crate::fingerprint::Fingerprint;

    async fn collect<B: Body<Data = Bytes> + Unpin>(body: B, share: &mut Share) -> Result<Bytes, Failure> {
        let mut collected = Collected::new(MAX_BYTES, Decoder::default());
        collected.collect(body, share).await?;
        Ok(collected.finish(share).0)
    }

    fn share() -> Share {
        budget().share(Fingerprint::of(&[]))
    }

    /// A body of unknown length.
    fn large(bytes: usize) -> impl Body<Data = Bytes, Error = std::io::Error> + Unpin {
        let frames = [bytes / 2, bytes - bytes / 2].map(|length| Ok(Frame::data(Bytes::from(vec![b' '; length]))));
        StreamBody::new(futures::stream::iter(frames))
    }

    #[tokio::test]
    async fn an_identity_receives_no_more_than_its_part_and_others_beside_it() {
        let budget = budget();
        let shares = |name: &str| budget.share(Fingerprint::of(&[name]));
        let mut held = vec![shares("one"), shares("one")];
        for share in &mut held {
            collect(large(MAX_BYTES), share).await.unwrap();
        }
        assert_eq!(budget.held(), LARGE_OF_IDENTITY);
        let mut third = shares("one");
        let mut waiting = std::pin::pin!(collect(large(SMALL + 1), &mut third));
        assert!(futures::poll!(&mut waiting).is_pending());
        collect(large(SMALL), &mut shares("one")).await.unwrap();
        collect(large(SMALL + 1), &mut shares("other")).await.unwrap();
        held.pop();
        assert_eq!(waiting.await.map(|body| body.len()), Ok(SMALL + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_response_gives_its_room_to_those_that_wait_and_goes_on_if_nobody_does() {
        // 80 KiB at once, then a byte a second.
        let slow = || {
            let first = futures::stream::iter([40 * 1024; 2]).map(|length| vec![b' '; length]);
            let drip = futures::stream::iter(0..20).then(async |_| {
                tokio::time::sleep(Duration::from_secs(1)).await;
                vec![b' ']
            });
            let bytes = first.chain(drip).map(|bytes| Ok::<_, std::io::Error>(Frame::data(Bytes::from(bytes))));
            Box::pin(StreamBody::new(bytes))
        };
        let budget = Budget::new(MAX_BYTES, MAX_BYTES);
        let shares = |name: &str| budget.share(Fingerprint::of(&[name]));
        assert!(collect(slow(), &mut shares("one")).await.is_ok(), "nobody waits");
        let (mut one, mut other) = (shares("one"), shares("other"));
        let (given_up, waited) = tokio::join!(
            async {
                let result = collect(slow(), &mut one).await;
                drop(one);
                result
            },
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                collect(large(SMALL + 1), &mut other).await
            }
        );
        assert!(matches!(given_up, Err(Failure::Timeout(after)) if after <= WINDOW * 3), "{given_up:?}");
        assert_eq!((waited.map(|body| body.len()), budget.held()), (Ok(SMALL + 1), SMALL + 1));
    }

    #[tokio::test]
    async fn a_body_is_collected_up_to_its_bound() {
        for (chunks, text, outcome) in [
            (&[][..], "", Ok(())),
            (&["ab", "cd"], "abcd", Ok(())),
            (&["ab", "cde"], "ab", Err(Failure::TooLarge)),
            (&["abcde"], "abcd", Err(Failure::TooLarge)),
        ] {
            let frames =
                chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(chunk.as_bytes()))));
            let (mut share, mut collected) = (share(), Collected::new(4, Decoder::default()));
            let found = collected.collect(StreamBody::new(futures::stream::iter(frames)), &mut share).await;
            assert_eq!(found, outcome, "{chunks:?}");
            assert!(text.starts_with(std::str::from_utf8(&collected.finish(&mut share).0).unwrap()), "{chunks:?}");
        }
    }

    async fn decoded(headers: &HeaderMap, body: &[u8], frame: usize) -> Result<(String, bool), Failure> {
        let frames =
            body.chunks(frame).map(|chunk| Ok::<_, std::io::Error>(Frame::data(Bytes::copy_from_slice(chunk))));
        let (mut share, mut collected) = (share(), Collected::new(MAX_BYTES, Decoder::of(headers)?));
        collected.collect(StreamBody::new(futures::stream::iter(frames)), &mut share).await?;
        let (text, is_exact) = collected.finish(&mut share);
        Ok((String::from_utf8(text.to_vec()).unwrap(), is_exact))
    }

    fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn a_body_is_decoded_by_its_charset_whatever_its_pieces() {
        let plain = headers(&[]);
        let latin = headers(&[("content-type", "text/plain; x=1; Charset=\"ISO-8859-1\"")]);
        let japanese = headers(&[("content-type", "text/plain;charset=Shift_JIS")]);
        for (headers, body, text, is_exact) in [
            (&plain, "né😀".as_bytes(), "né😀", true),
            (&plain, b"\xef\xbb\xbf{}", "{}", true),
            (&plain, b"\xef\xbb\xbf", "", true),
            (&plain, b"\xff\xfea\0", "a", true),
            (&plain, b"\xff", "\u{fffd}", false),
            (&plain, b"\xfe", "\u{fffd}", false),
            (&plain, b"\xef\xbb", "\u{fffd}", false),
            (&plain, b"n\xe9e", "n\u{fffd}e", false),
            (&latin, b"n\xe9\x80", "né€", true),
            (&japanese, b"\x93\xfa\x96{", "日本", true),
        ] {
            for frame in [1, 2, 100] {
                let found = decoded(headers, body, frame).await;
                assert_eq!(found, Ok((text.to_owned(), is_exact)), "{text} in pieces of {frame}");
            }
        }
    }

    #[tokio::test]
    async fn deflate_is_decoded_with_and_without_its_header_within_the_bound() {
        let deflated = headers(&[("content-encoding", "Deflate")]);
        let zlib = |text: &[u8]| {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let raw = |text: &[u8], level| {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let [fast, none] = [flate2::Compression::fast(), flate2::Compression::none()];
        for body in [zlib("zwé".as_bytes()), raw("zwé".as_bytes(), fast), raw("zwé".as_bytes(), none)] {
            for frame in [1, 7, 1_000] {
                assert_eq!(decoded(&deflated, &body, frame).await, Ok(("zwé".to_owned(), true)), "{body:?}");
            }
            let incomplete = decoded(&deflated, &body[..body.len() - 1], SMALL).await;
            assert_eq!(incomplete, Err(Failure::Malformed), "{body:?}");
        }
        for bomb in [zlib(&vec![0; 2 * MAX_BYTES]), raw(&vec![0; 2 * MAX_BYTES], fast)] {
            assert_eq!(decoded(&deflated, &bomb, SMALL).await, Err(Failure::TooLarge));
        }
        for body in [&b"{}"[..], b"\x78", b"\x78\x9c\x00"] {
            assert_eq!(decoded(&deflated, body, SMALL).await, Err(Failure::Malformed), "{body:?}");
        }
        assert_eq!(
            decoded(&deflated, b"", SMALL).await,
            Ok((String::new(), true)),
            "nothing may be said to be encoded"
        );
        let twice = headers(&[("content-encoding", "gzip"), ("content-encoding", "deflate")]);
        assert_eq!(decoded(&twice, b"", SMALL).await, Err(Failure::Malformed));
    }

    #[tokio::test]
    async fn gzip_is_decoded_within_the_bound_and_what_was_not_asked_for_is_refused() {
        let zipped = headers(&[("content-encoding", "gzip")]);
        let twice = [gzip(b"one "), gzip("zw\u{e9}".as_bytes())].concat();
        for frame in [1, 7, 1_000] {
            assert_eq!(decoded(&zipped, &twice, frame).await, Ok(("one zwé".to_owned(), true)));
        }
        let most = decoded(&zipped, &gzip(&vec![b' '; MAX_BYTES]), SMALL).await;
        assert_eq!(most.map(|(text, _)| text.len()), Ok(MAX_BYTES));
        let bomb = gzip(&vec![0; 2 * MAX_BYTES]);
        assert_eq!(decoded(&zipped, &bomb, SMALL).await, Err(Failure::TooLarge));
        for (headers, body) in
            [(&zipped, &twice[..20]), (&zipped, b"{}"), (&headers(&[("content-encoding", "br")]), b"{}")]
        {
            assert_eq!(decoded(headers, body, SMALL).await, Err(Failure::Malformed), "{headers:?}");
        }
        assert_eq!(decoded(&zipped, b"", SMALL).await, Ok((String::new(), true)), "nothing may be said to be encoded");
    }
}
