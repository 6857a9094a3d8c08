//! Records as they lie in a batch of Kafka's format v2, whose compressed part they are.

/// Appends a signed number, zigzag, seven bits a byte.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest > 0x7F {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(bytes);
}

/// Key, headers and value of a record.
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) headers: Vec<(&'static str, Vec<u8>)>,
    pub(super) value: Vec<u8>,
}

impl Record {
    /// Appends the record as the batch's `offset`-th.
    pub(super) fn append(&self, offset: usize, out: &mut Vec<u8>) {
        let mut body = vec![0];
        // A frame in 33 ms.
        let offset = i64::try_from(offset).unwrap_or(0);
        put_varint(&mut body, offset * 33);
        put_varint(&mut body, offset);
        put_bytes(&mut body, &self.key);
        put_bytes(&mut body, &self.value);
        put_varint(&mut body, i64::try_from(self.headers.len()).unwrap_or(0));
        for (name, value) in &self.headers {
            put_bytes(&mut body, name.as_bytes());
            put_bytes(&mut body, value);
        }
        put_bytes(out, &body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_laid_out_as_kafka_has_it() {
        let record = Record { key: b"gate".to_vec(), headers: vec![("a", b"1".to_vec())], value: b"v".to_vec() };
        let mut out = Vec::new();
        record.append(2, &mut out);
        // Length 16; attributes, 66 ms and 2 zigzag, key, value, one header.
        let expected = [&[32, 0, 132, 1, 4, 8][..], b"gate", &[2], b"v", &[2, 2], b"a", &[2], b"1"].concat();
        assert_eq!(out, expected);
    }
}
