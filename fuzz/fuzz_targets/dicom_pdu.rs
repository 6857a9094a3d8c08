//! What DICOM peers send: units, commands, and the beginnings of files. What is accepted survives being written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_dicom::gateway::dimse::Command;
use lumenbus_dicom::gateway::file_meta::FileMeta;
use lumenbus_dicom::gateway::pdu::{Accept, DataValue, HEADER_BYTES, Header, Kind, Request};

fuzz_target!(|data: &[u8]| {
    if let Some(meta) = FileMeta::read(data) {
        assert!(meta.data_set <= data.len());
    }
    if let Ok(command) = Command::decode(data) {
        let again = Command::decode(&command.encode()).expect("what was decoded is encoded");
        assert_eq!((again.field, again.message_id), (command.field, command.message_id));
        assert_eq!((again.sop_class, again.sop_instance), (command.sop_class, command.sop_instance));
    }
    let Some(&header) = data.first_chunk::<HEADER_BYTES>() else { return };
    let body = &data[HEADER_BYTES..];
    let Ok(Header { kind, length }) = Header::decode(header, 16_384) else { return };
    let body = body.get(..length as usize).unwrap_or(body);
    match kind {
        Kind::Request => {
            if let Ok(request) = Request::decode(body) {
                let unit = request.encode();
                assert_eq!(Request::decode(&unit[HEADER_BYTES..]).expect("what was decoded is encoded"), request);
            }
        }
        Kind::Accept => {
            if let Ok(accept) = Accept::decode(body) {
                let unit = accept.encode();
                assert_eq!(Accept::decode(&unit[HEADER_BYTES..]).expect("what was decoded is encoded"), accept);
            }
        }
        Kind::Data => {
            let mut at = 0;
            while let Ok(Some(value)) = DataValue::decode(body, at) {
                assert!(value.fragment.start > at && value.fragment.end <= body.len());
                at = value.fragment.end;
            }
        }
        _ => {}
    }
});
