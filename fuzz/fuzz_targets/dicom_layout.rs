//! Layouts and values of strangers: every path stays below its folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumenbus_dicom::cut::{Input, SplitLimits, Splitter};
use lumenbus_dicom::layout::{DEFAULT_LAYOUT, Layout, MAX_COMPONENT_BYTES};
use lumenbus_dicom::record::ObjectId;
use std::convert::Infallible;
use std::path::Component;

/// An element with explicit VR.
fn element(tag: [u8; 4], vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(0);
    [&tag[..], vr, &length.to_le_bytes(), &value[..usize::from(length)]].concat()
}

fuzz_target!(|data: &[u8]| {
    let mut fields = data.splitn(3, |&byte| byte == 0xFF);
    let mut field = || fields.next().unwrap_or_default();
    let (layout, set, patient) = (field(), field(), field());
    let layout = std::str::from_utf8(layout).ok().and_then(|layout| Layout::parse(layout).ok());
    let layout = layout.unwrap_or_else(|| Layout::parse(DEFAULT_LAYOUT).expect("the default is one"));
    let object = [
        element([8, 0, 5, 0], b"CS", set),
        element([8, 0, 0x60, 0], b"CS", patient),
        element([0x10, 0, 0x20, 0], b"LO", patient),
    ]
    .concat();
    let input = Input::DataSet { transfer_syntax: "1.2.840.10008.1.2.1".to_owned() };
    let mut sink = |_| -> Result<(), Infallible> { Ok(()) };
    let mut splitter = Splitter::new(ObjectId::from_bytes([1; 16]), input, SplitLimits::default());
    let Ok(()) = splitter.push(&object, &mut sink);
    let Ok(metadata) = splitter.finish(&mut sink);
    for path in [layout.path(&metadata), layout.path_distinct(&metadata)] {
        for component in path.components() {
            let Component::Normal(name) = component else { panic!("{path:?}") };
            let name = name.to_str().expect("names are text");
            assert!(
                name.len() <= MAX_COMPONENT_BYTES && !name.starts_with('.') && !name.ends_with([' ', '.']),
                "{name:?}"
            );
            assert!(!name.contains(['\\', ':', '\0']) && !name.chars().any(char::is_control), "{name:?}");
        }
    }
});
