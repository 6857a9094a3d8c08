//! Where a frame belongs in a distributed trace: W3C Trace Context, `traceparent`.

use std::fmt;
use std::str::FromStr;

/// Length of a `traceparent` of version 00.
const TEXT_BYTES: usize = 55;
/// The version that this build writes.
const VERSION: u8 = 0;
/// The version that the recommendation forbids.
const FORBIDDEN_VERSION: u8 = 0xff;
/// The one flag that every version has.
const SAMPLED: u8 = 1;

/// A trace and the span in it that caused this frame ([W3C Trace Context](https://www.w3.org/TR/trace-context/)).
///
/// ```
/// use lumenbus_frame::TraceContext;
///
/// let trace: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// assert!(trace.is_sampled());
/// assert_eq!(trace.to_string(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
/// # Ok::<(), lumenbus_frame::TraceContextError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Of the whole trace; not all zero.
    pub trace_id: [u8; 16],
    /// Of the span that caused this frame; not all zero.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

/// Text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent: {problem}; expected 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, lower case")]
pub struct TraceContextError {
    problem: &'static str,
}

impl TraceContext {
    /// Whether somebody records this trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The header value of version 00, in ASCII.
    #[must_use]
    pub fn to_traceparent(&self) -> [u8; TEXT_BYTES] {
        let mut text = [b'-'; TEXT_BYTES];
        put_hex(&mut text[..2], &[VERSION]);
        put_hex(&mut text[3..35], &self.trace_id);
        put_hex(&mut text[36..52], &self.span_id);
        put_hex(&mut text[53..], &[self.flags]);
        text
    }

    /// Reads a header value. Of a later version what version 00 has is read, as the recommendation says (section 4.3).
    ///
    /// # Errors
    /// Anything that is not exactly a `traceparent`; identifiers that are all zero.
    pub fn from_traceparent(text: &[u8]) -> Result<Self, TraceContextError> {
        let wrong = |problem| TraceContextError { problem };
        let (head, rest) = text.split_at_checked(TEXT_BYTES).ok_or(wrong("it is too short"))?;
        let [version] = hex(&head[..2]).ok_or(wrong("its version is no lower-case hexadecimal number"))?;
        let is_later = version > VERSION && version != FORBIDDEN_VERSION;
        match rest.first() {
            _ if version == FORBIDDEN_VERSION => return Err(wrong("version ff is forbidden")),
            Some(byte) if !is_later || *byte != b'-' => return Err(wrong("it is too long")),
            _ => {}
        }
        if [2, 35, 52].into_iter().any(|at| head[at] != b'-') {
            return Err(wrong("its parts are not separated by hyphens"));
        }
        let trace_id: [u8; 16] = hex(&head[3..35]).ok_or(wrong("its trace id is not lower-case hexadecimal"))?;
        let span_id: [u8; 8] = hex(&head[36..52]).ok_or(wrong("its parent id is not lower-case hexadecimal"))?;
        let [flags] = hex(&head[53..]).ok_or(wrong("its flags are no lower-case hexadecimal number"))?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return Err(wrong("an identifier is all zero"));
        }
        Ok(Self { trace_id, span_id, flags: if is_later { flags & SAMPLED } else { flags } })
    }
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        Self::from_traceparent(text.as_bytes())
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_traceparent()).expect("hexadecimal digits and hyphens"))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

fn put_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Lower-case digits only, as the recommendation demands.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_a_traceparent_and_what_is_not() {
        let parsed = |text: &str| text.parse::<TraceContext>().map(|trace| trace.to_string()).ok();
        assert_eq!(parsed(GOOD).as_deref(), Some(GOOD));
        let later = |tail: &str| format!("cc{}{tail}", &GOOD[2..53]);
        for (text, expected) in [
            (later("01"), Some(GOOD)),
            (later("01-what-the-future-brings"), Some(GOOD)),
            // Of a later version only the flag that all have.
            (later("ff"), Some(GOOD)),
            (later("01x"), None),
            (format!("ff{}", &GOOD[2..]), None),
            (format!("{GOOD}-x"), None),
            (GOOD[..54].to_owned(), None),
            (GOOD.to_uppercase(), None),
            (GOOD.replace('-', "_"), None),
            (GOOD.replace("b7ad6b7169203331", "0000000000000000"), None),
            (GOOD.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"), None),
            (GOOD.replace("0af7", "0ag7"), None),
            (String::new(), None),
        ] {
            assert_eq!(parsed(&text).as_deref(), expected, "{text}");
        }
        assert!(
            !"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02".parse::<TraceContext>().unwrap().is_sampled()
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id in any::<[u8; 16]>(), span_id in any::<[u8; 8]>(), flags in any::<u8>()) {
            let trace = TraceContext { trace_id, span_id, flags };
            let read = trace.to_string().parse::<TraceContext>().ok();
            let is_valid = trace_id != [0; 16] && span_id != [0; 8];
            prop_assert_eq!(read, is_valid.then_some(trace));
        }

        #[test]
        fn any_bytes_are_refused_or_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), at in 0..60_usize) {
            let mut near = GOOD.as_bytes().to_vec();
            near.splice(at.min(near.len())..(at + bytes.len() / 8).clamp(at.min(near.len()), near.len()), bytes.iter().copied().take(3));
            for text in [&bytes, &near] {
                if let Ok(trace) = TraceContext::from_traceparent(text) {
                    prop_assert!(trace.trace_id != [0; 16] && trace.span_id != [0; 8]);
                }
            }
        }
    }
}
