//! Which images are likely to have text in their pixels. The lists are in `docs/design/deidentification.md` with their reasons.

use super::Image;
use crate::deid::Quarantine;

/// Machines that draw on what they show, or that show what was drawn elsewhere: a NO in (0028,0301) is not believed.
const DRAWN_ON: [&str; 13] = ["US", "IVUS", "BDUS", "ES", "XC", "GM", "SM", "OT", "DOC", "OP", "OPT", "HC", "SC"];
/// Projections, on which letters of lead and names of the plate reader are usual: a NO is believed, silence is not.
const LABELLED: [&str; 11] = ["CR", "DX", "MG", "RF", "XA", "RG", "IO", "PX", "DG", "RTIMAGE", "XRF"];
/// Words in Image Type (0008,0008) of screens and reports stored as images.
const SCREENS: [&str; 10] =
    ["SCREEN", "DOSE", "REPORT", "CAPTURE", "PROTOCOL", "SUMMARY", "ANALYSIS", "TEXT", "LABEL", "OVERVIEW"];
/// SOP classes of images that were made of something else.
const CAPTURED: [&str; 3] = ["1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.77", "1.2.840.10008.5.1.4.1.1.6"];
const ENCAPSULATED: &str = "1.2.840.10008.5.1.4.1.1.104";
const AUDIO: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.9.4.1", "1.2.840.10008.5.1.4.1.1.9.4.2"];

/// What no mask can help against.
pub(super) fn beyond_pixels(image: &Image) -> Vec<Quarantine> {
    let mut reasons = Vec::new();
    if image.document || is_under(&image.sop_class, ENCAPSULATED) {
        reasons.push(Quarantine::EncapsulatedDocument);
    }
    if image.modality == "AU" || AUDIO.contains(&image.sop_class.as_str()) {
        reasons.push(Quarantine::Audio);
    }
    if is_video(&image.transfer_syntax) {
        reasons.push(Quarantine::Video);
    }
    reasons
}

/// MPEG-2, H.264 and H.265 (PS3.6, table A-1).
fn is_video(transfer_syntax: &str) -> bool {
    let number = transfer_syntax.strip_prefix("1.2.840.10008.1.2.4.").and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse::<u16>().ok()).is_some_and(|number| (100..=108).contains(&number))
}

fn is_under(uid: &str, root: &str) -> bool {
    uid.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Text in the pixels, when no mask is configured.
pub(super) fn in_pixels(image: &Image, trust_declared_no: bool) -> Option<Quarantine> {
    if image.burned_in.eq_ignore_ascii_case("YES") {
        return Some(Quarantine::BurnedInDeclared);
    }
    let declared_no = image.burned_in.eq_ignore_ascii_case("NO");
    let drawn_on = drawn_on(image);
    let hint = match drawn_on {
        Some(hint) if !(declared_no && trust_declared_no) => hint,
        None if !declared_no && LABELLED.contains(&image.modality.as_str()) => format!("modality {}", image.modality),
        None if !declared_no && image.modality.is_empty() => "no modality".to_owned(),
        _ => return None,
    };
    Some(Quarantine::BurnedInLikely { hint })
}

fn drawn_on(image: &Image) -> Option<String> {
    if DRAWN_ON.contains(&image.modality.as_str()) {
        return Some(format!("modality {}", image.modality));
    }
    if CAPTURED.iter().any(|root| is_under(&image.sop_class, root)) {
        return Some(format!("SOP class {}", image.sop_class));
    }
    if image.converted {
        return Some("Conversion Type (0008,0064)".to_owned());
    }
    let screen = SCREENS.iter().find(|word| image.image_type.contains(**word))?;
    Some(format!("Image Type (0008,0008) with {screen}"))
}
