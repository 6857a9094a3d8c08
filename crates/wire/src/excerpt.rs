//! `Debug` that shows little of a payload.

use std::fmt;

/// Most bytes shown.
const SHOWN_BYTES: usize = 64;

/// Length and first bytes in hex.
pub(crate) struct Excerpt<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes ", self.0.len())?;
        for byte in self.0.iter().take(SHOWN_BYTES) {
            write!(f, "{byte:02x}")?;
        }
        if self.0.len() > SHOWN_BYTES { f.write_str("…") } else { Ok(()) }
    }
}

/// `Debug` of a struct with bytes in it: fields as they are, and those shown as an [`Excerpt`].
macro_rules! debug_with_excerpts {
    ($type:ty { $($field:ident),* } excerpts { $($bytes:ident),* }) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($field), &self.$field))*
                    $(.field(stringify!($bytes), &crate::excerpt::Excerpt(&self.$bytes)))*
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use debug_with_excerpts;
