//! What transfer syntaxes say about bytes (DICOM PS3.5, section 10; PS3.6, table A-1).

use crate::element::Encoding;

/// Implicit VR Little Endian.
pub const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
/// Explicit VR Big Endian (retired).
pub const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";
/// Deflated Explicit VR Little Endian: everything behind group 2 is one deflate stream.
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
/// Encapsulated Uncompressed Explicit VR Little Endian: fragments of native pixels.
pub const ENCAPSULATED_UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";
/// JPIP Referenced Deflate, and the same of HTJ2K: deflated like [`DEFLATED`].
const JPIP_DEFLATED: [&str; 2] = ["1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"];
/// GE's private implicit little endian with big endian pixels.
const GE_PRIVATE: &str = "1.2.840.113619.5.2";

/// How the data set behind group 2 is encoded; unknown syntaxes are explicit and little endian, as PS3.5 (section A.4)
/// wants all later ones.
#[must_use]
pub fn encoding(transfer_syntax: &str) -> Encoding {
    match transfer_syntax {
        IMPLICIT_LITTLE | GE_PRIVATE => Encoding::ImplicitLittle,
        EXPLICIT_BIG => Encoding::ExplicitBig,
        _ => Encoding::ExplicitLittle,
    }
}

/// Whether the data set is a deflate stream.
#[must_use]
pub fn is_deflated(transfer_syntax: &str) -> bool {
    transfer_syntax == DEFLATED || JPIP_DEFLATED.contains(&transfer_syntax)
}

/// Whether compressing the pixels once more (LZ4 in Kafka) is worth its time: native pixels and unknown bytes are,
/// everything encapsulated or deflated is compressed already.
#[must_use]
pub fn is_compressible(transfer_syntax: Option<&str>) -> bool {
    transfer_syntax.is_none_or(|uid| {
        [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, ENCAPSULATED_UNCOMPRESSED, GE_PRIVATE].contains(&uid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_pixels_are_compressed_and_others_are_not() {
        for native in [None, Some(IMPLICIT_LITTLE), Some(EXPLICIT_LITTLE), Some(EXPLICIT_BIG)] {
            assert!(is_compressible(native), "{native:?}");
        }
        for compressed in [DEFLATED, "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.201"] {
            assert!(!is_compressible(Some(compressed)), "{compressed}");
        }
    }
}
