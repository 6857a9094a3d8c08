//! Every supported API and version: what the generated encoders write, the shape check lets
//! through and the decoder reads back; what is cut or mangled is refused without harm.

use super::*;
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::StrBytes;
use proptest::prelude::*;

use crate::server::shape::MAX_REQUEST_ELEMENTS;

fn header(api: &Api, version: i16) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(api.key as i16)
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(StrBytes::from_static_str("tester")));
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes, api.key.request_header_version(version)).unwrap();
    bytes.to_vec()
}

/// A body whose every length is one: made of `fill` bytes wherever the layout allows any.
fn body(layout: &[shape::Field], version: i16, flexible: Flexible, out: &mut Vec<u8>) {
    use shape::Kind;
    let one = |out: &mut Vec<u8>, wide: usize| match flexible {
        Flexible::Yes => out.push(2),
        Flexible::No => out.extend(&1_i32.to_be_bytes()[4 - wide..]),
    };
    for field in layout {
        if !(field.since..=field.until).contains(&version) {
            continue;
        }
        match field.kind {
            Kind::Fixed(width) => out.extend(vec![0; width]),
            Kind::Str => {
                one(out, 2);
                out.push(b's');
            }
            Kind::Bytes => {
                one(out, 4);
                out.push(b'b');
            }
            Kind::FixedArray(width) => {
                one(out, 4);
                out.extend(vec![0; width]);
            }
            Kind::StrArray => {
                one(out, 4);
                one(out, 2);
                out.push(b's');
            }
            Kind::Array(fields) => {
                one(out, 4);
                body(fields, version, flexible, out);
            }
            Kind::Optional(fields) => {
                out.push(1);
                body(fields, version, flexible, out);
            }
        }
    }
    if flexible == Flexible::Yes {
        out.push(0);
    }
}

fn every_version() -> impl Iterator<Item = (&'static Api, i16)> {
    api::APIS.iter().flat_map(|api| (api.min..=api.max).map(move |version| (api, version)))
}

/// The layouts are the generated decoders' own: both take exactly the same bytes.
#[test]
fn layouts_agree_with_the_generated_decoders() {
    for (api, version) in every_version() {
        let mut bytes = Vec::new();
        body(api.layout, version, api.flexible(version), &mut bytes);
        let name = format!("{:?} {version}", api.key);
        let checked = shape::check(&bytes, api.layout, version, api.flexible(version));
        assert_eq!(checked, Ok(()), "{name}");
        let mut whole = Bytes::from(bytes.clone());
        RequestKind::decode(api.key, &mut whole, version).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(whole.is_empty(), "{name}: the decoder left {} bytes", whole.len());
        for cut in 0..bytes.len() {
            let short = &bytes[..cut];
            let checked = shape::check(short, api.layout, version, api.flexible(version));
            assert_eq!(checked, Err(Misshapen::Truncated), "{name} cut at {cut}");
        }
    }
}

#[test]
fn headers_are_read_in_every_version() {
    for (api, version) in every_version() {
        let mut bytes = header(api, version);
        body(api.layout, version, api.flexible(version), &mut bytes);
        match parse(Bytes::from(bytes)).unwrap() {
            Parsed::Request(header, _) => {
                assert_eq!(header.correlation_id, 77);
                assert_eq!(header.client_id.as_deref(), Some("tester"));
            }
            other @ Parsed::FutureApiVersions(_) => panic!("{other:?}"),
        }
    }
}

#[test]
fn hostile_array_lengths_are_refused_before_decoding() {
    let has_body = |(api, version): &(&Api, i16)| match api.key {
        ApiKey::ApiVersions => false,
        ApiKey::ListGroups => *version >= 3,
        _ => true,
    };
    for (api, version) in every_version().filter(has_body) {
        let mut bytes = header(api, version);
        bytes.extend([0x7f; 64]);
        assert!(decode_only(Bytes::from(bytes)).is_err(), "{:?} {version}", api.key);
    }
    let metadata = api::find(ApiKey::Metadata as i16).unwrap();
    let mut bytes = header(metadata, 1);
    let many = MAX_REQUEST_ELEMENTS + 1;
    bytes.extend(i32::try_from(many).unwrap().to_be_bytes());
    bytes.resize(bytes.len() + 2 * many, 0);
    let refused = decode_only(Bytes::from(bytes));
    assert!(matches!(refused, Err(BadRequest::Misshapen(Misshapen::TooManyElements))));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_only(Bytes::from(bytes));
    }

    /// A header that is right in front of a body that is not.
    #[test]
    fn random_bodies_never_panic(
        index in any::<prop::sample::Index>(),
        version in 0_i16..14,
        garbage in proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..200),
    ) {
        let api = &api::APIS[index.index(api::APIS.len())];
        let mut bytes = header(api, version.clamp(api.min, api.max));
        bytes.extend(garbage);
        let _ = decode_only(Bytes::from(bytes));
    }

    /// One byte changed in a request that was right.
    #[test]
    fn mangled_requests_never_panic(
        index in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let (api, version) = every_version().nth(index.index(every_version().count())).unwrap();
        let mut bytes = header(api, version);
        body(api.layout, version, api.flexible(version), &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = decode_only(Bytes::from(bytes));
    }
}
