//! Decoder configuration records of MP4 and its relatives (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1).

use super::bits::BitError;
use super::{BitstreamError, NalCodec};

/// Bytes of the length before each NAL unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LengthSize {
    /// One byte.
    One,
    /// Two bytes, big endian.
    Two,
    /// Four bytes, big endian.
    Four,
}

impl LengthSize {
    /// As a number of bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    fn from_minus_one(value: u8) -> Result<Self, BitError> {
        match value & 3 {
            0 => Ok(Self::One),
            1 => Ok(Self::Two),
            3 => Ok(Self::Four),
            other => Err(BitError::OutOfRange { field: "lengthSizeMinusOne", value: u32::from(other) }),
        }
    }
}

/// An `avcC` or `hvcC` record: how NAL units are delimited, and the parameter sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderConfiguration {
    /// The codec.
    pub codec: NalCodec,
    /// Bytes before each NAL unit.
    pub length_size: LengthSize,
    /// Parameter sets (and what else the record holds) as NAL units with their headers.
    pub nal_units: Vec<Vec<u8>>,
}

/// Walks a record; never reads past its end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BitError> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(BitError::EndOfData)?;
        self.0 = rest;
        Ok(front)
    }

    fn byte(&mut self) -> Result<u8, BitError> {
        self.take(1).map(|byte| byte[0])
    }

    fn short(&mut self) -> Result<usize, BitError> {
        self.take(2).map(|bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn nal_units(&mut self, count: usize, into: &mut Vec<Vec<u8>>) -> Result<(), BitError> {
        for _ in 0..count {
            let length = self.short()?;
            into.push(self.take(length)?.to_vec());
        }
        Ok(())
    }
}

impl DecoderConfiguration {
    /// Reads the content of an `avcC` box.
    pub fn from_avcc(record: &[u8]) -> Result<Self, BitstreamError> {
        read_avcc(record).map_err(|source| BitstreamError::Malformed { what: "avcC record", source })
    }

    /// Reads the content of an `hvcC` box.
    pub fn from_hvcc(record: &[u8]) -> Result<Self, BitstreamError> {
        read_hvcc(record).map_err(|source| BitstreamError::Malformed { what: "hvcC record", source })
    }
}

fn read_avcc(record: &[u8]) -> Result<DecoderConfiguration, BitError> {
    let mut fields = Fields(record);
    let fixed = fields.take(5)?;
    if fixed[0] != 1 {
        return Err(BitError::OutOfRange { field: "configurationVersion", value: u32::from(fixed[0]) });
    }
    let length_size = LengthSize::from_minus_one(fixed[4])?;
    let mut nal_units = Vec::new();
    let sequence_sets = usize::from(fields.byte()? & 31);
    fields.nal_units(sequence_sets, &mut nal_units)?;
    let picture_sets = usize::from(fields.byte()?);
    fields.nal_units(picture_sets, &mut nal_units)?;
    Ok(DecoderConfiguration { codec: NalCodec::H264, length_size, nal_units })
}

fn read_hvcc(record: &[u8]) -> Result<DecoderConfiguration, BitError> {
    let mut fields = Fields(record);
    let fixed = fields.take(22)?;
    let length_size = LengthSize::from_minus_one(fixed[21])?;
    let mut nal_units = Vec::new();
    for _ in 0..fields.byte()? {
        fields.byte()?; // array_completeness and type; the units say the type again
        let count = fields.short()?;
        fields.nal_units(count, &mut nal_units)?;
    }
    Ok(DecoderConfiguration { codec: NalCodec::H265, length_size, nal_units })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AVCC: [u8; 19] = [1, 66, 0xc0, 40, 0xff, 0xe1, 0, 4, 0x67, 66, 0, 40, 1, 0, 4, 0x68, 0xce, 0x3c, 0x80];

    #[test]
    fn an_avcc_record_gives_its_sets() {
        let record = DecoderConfiguration::from_avcc(&AVCC).unwrap();
        assert_eq!(record.length_size, LengthSize::Four);
        assert_eq!(record.nal_units, [vec![0x67, 66, 0, 40], vec![0x68, 0xce, 0x3c, 0x80]]);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for length in 0..AVCC.len() {
            assert!(DecoderConfiguration::from_avcc(&AVCC[..length]).is_err(), "{length}");
        }
        let mut three = AVCC;
        three[4] = 0xfe;
        assert!(DecoderConfiguration::from_avcc(&three).unwrap_err().to_string().contains("lengthSizeMinusOne"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for record in [DecoderConfiguration::from_avcc(&bytes), DecoderConfiguration::from_hvcc(&bytes)].into_iter().flatten() {
                let held: usize = record.nal_units.iter().map(Vec::len).sum();
                prop_assert!(held <= bytes.len());
            }
        }
    }
}
