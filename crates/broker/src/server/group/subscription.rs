//! The topics in a consumer's subscription (`ConsumerProtocolSubscription`): which committed offsets a
//! group still needs depends on it. All else in it is the clients' own business.

use bytes::Buf;

/// The subscribed topics; `None` when the bytes are something else.
pub(crate) fn topics(mut metadata: &[u8]) -> Option<Vec<String>> {
    let version = metadata.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = u32::try_from(metadata.try_get_i32().ok()?).ok()?;
    // Nothing is reserved by the claimed number: a name that is not there ends the loop.
    let mut topics = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let (name, rest) = metadata.split_at_checked(length)?;
        topics.push(String::from_utf8(name.to_vec()).ok()?);
        metadata = rest;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::messages::ConsumerProtocolSubscription;
    use kafka_protocol::protocol::{Encodable, StrBytes};

    #[test]
    fn topics_are_read_whatever_follows() {
        let names = ["raw_video", "raw_images"];
        for version in 0..=3 {
            let topics_of = names.iter().map(|name| StrBytes::from_static_str(name)).collect();
            let subscription = ConsumerProtocolSubscription::default().with_topics(topics_of);
            let mut bytes = BytesMut::new();
            subscription.encode(&mut bytes, version).unwrap();
            let mut whole = version.to_be_bytes().to_vec();
            whole.extend(&bytes);
            assert_eq!(topics(&whole).unwrap(), names);
            assert_eq!(topics(&whole[..20]), None, "cut inside the second name");
        }
    }

    #[test]
    fn something_else_is_no_subscription() {
        for bytes in [&b""[..], b"x", &[0xff; 8], &[0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 0], b"subscription"] {
            assert_eq!(topics(bytes), None);
        }
    }
}
