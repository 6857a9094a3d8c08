//! What stands where a value was: dummies, words that may stay, and whether a value is one of its VR at all.

use dicom_core::VR;
use std::collections::BTreeSet;

/// Words of descriptions that name nobody: modalities, anatomy, directions, phases. In lower case.
const WORDS: &str = "2d 3d 4d abdomen acute adc aligned angio ankle ap arm arterial artery average axial b0 back biopsy bladder \
    body bolus bone brain breast cardiac carotid cerebral cervical chest cine clavicle coil contrast cor coronal ct cta \
    delayed diffusion dixon dose dr dti dwi dx dynamic ecg elbow enhanced epi extremity eye face fast fat femur finger flair \
    fmri foot forearm fov gated gradient hand head heart hip hr humerus iac in inversion kernel kidney knee lat lateral left \
    leg liver localizer long lower lspine lumbar lung magnitude map medial mip mpr mr mra mri neck nm oblique orbit pa pancreas \
    pelvis perfusion pet phase pituitary plain portal post pre prone prostate proton pt raw recon reformat resting rib right \
    sacrum sag sagittal saturation scan scout screening sequence series shoulder sinus skull slice soft spine spin spiral \
    spleen stir study supine survey swi t1 t1w t2 t2w task tfe thick thin thoracic thorax tibia tissue tof tse us uterus vein \
    venous vertebra view volume w with without whole window wrist xa";

/// Words of a text that are known, in their order; what stood between them is one space each.
pub(crate) fn clean_words(bytes: &[u8], more: &BTreeSet<String>) -> String {
    let text = String::from_utf8_lossy(bytes);
    let known = |word: &&str| {
        let word = word.to_lowercase();
        more.contains(&word) || WORDS.split_ascii_whitespace().any(|known| known == word)
    };
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).filter(known);
    words.collect::<Vec<_>>().join(" ")
}

/// A value that its VR allows and that says nothing.
pub(crate) fn dummy(vr: VR) -> &'static [u8] {
    match vr {
        VR::AE | VR::CS => b"ANON",
        VR::AS => b"000D",
        VR::DA => b"19000101",
        VR::DT => b"19000101000000",
        VR::TM => b"000000",
        VR::DS | VR::IS => b"0 ",
        VR::LO | VR::SH | VR::ST | VR::LT | VR::UT | VR::UC => b"REMOVED ",
        VR::PN => b"ANONYMIZED",
        VR::UR => b"urn:removed ",
        VR::US | VR::SS | VR::OB | VR::OW | VR::UN => &[0; 2],
        VR::AT | VR::UL | VR::SL | VR::FL | VR::OF | VR::OL => &[0; 4],
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => &[0; 8],
        VR::SQ | VR::UI => b"",
    }
}

/// Whether a value is one that its VR allows, where that can be told (PS3.5, table 6.2-1).
pub(crate) fn is_valid(vr: VR, bytes: &[u8]) -> bool {
    let each = |allowed: fn(u8) -> bool, longest: usize| {
        bytes.split(|byte| *byte == b'\\').all(|one| {
            let one = one.trim_ascii();
            let one = one.strip_suffix(b"\0").unwrap_or(one);
            one.len() <= longest && one.iter().all(|byte| allowed(*byte))
        })
    };
    match vr {
        VR::CS => each(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b' ' | b'_'), 16),
        // Longer ones are written by many and are still numbers.
        VR::DS => each(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'), 32),
        VR::IS => each(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-'), 16),
        VR::US | VR::SS => bytes.len().is_multiple_of(2),
        VR::AT | VR::UL | VR::SL | VR::FL => bytes.len().is_multiple_of(4),
        VR::FD | VR::SV | VR::UV => bytes.len().is_multiple_of(8),
        _ => true,
    }
}

/// Whether a UID is the standard's own and in a range that has no instances (PS3.6, annex A).
pub(crate) fn is_standard_uid(uid: &str) -> bool {
    const RANGES: [&str; 9] = ["1.2", "1.4", "1.5", "2.6", "2.16", "5.1", "6.1", "8.1", "15"];
    let Some(rest) = uid.strip_prefix("1.2.840.10008.") else { return false };
    RANGES.iter().any(|range| rest.strip_prefix(range).is_some_and(|end| end.is_empty() || end.starts_with('.')))
        && rest.split('.').all(is_short_arc)
        && rest.split('.').count() <= 9
}

/// Frames of reference and instances that everybody shares: Talairach, the colour palettes and the like.
pub(crate) fn is_well_known_instance(uid: &str) -> bool {
    is_standard_uid(uid)
        && ["1.2.840.10008.1.4.", "1.2.840.10008.1.5.", "1.2.840.10008.15."].iter().any(|range| uid.starts_with(range))
}

/// No number of the standard's own ranges has more than three digits: a date does not fit.
fn is_short_arc(arc: &str) -> bool {
    !arc.is_empty()
        && arc.len() <= 3
        && arc.bytes().all(|byte| byte.is_ascii_digit())
        && (arc.len() == 1 || !arc.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::{clean_words, is_standard_uid, is_valid, is_well_known_instance};
    use dicom_core::VR;
    use std::collections::BTreeSet;

    #[test]
    fn only_known_words_stay() {
        let more = BTreeSet::from(["spezial".to_owned()]);
        assert_eq!(clean_words(b"CT Chest, Mr. Smith 1976-05-01 SPEZIAL", &more), "CT Chest Mr SPEZIAL");
        assert_eq!(clean_words(b"\xff\xfe", &more), "");
    }

    #[test]
    fn uids_of_the_standard_are_known() {
        for uid in ["1.2.840.10008.1.2.4.201", "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.1.20.1"] {
            assert_eq!(is_standard_uid(uid), uid != "1.2.840.10008.1.20.1", "{uid}");
        }
        assert!(is_well_known_instance("1.2.840.10008.1.4.1.1"));
        for uid in ["1.2.840.10008.5.1.1976.5.1", "1.2.840.10008.5.1.4.01", "1.2.840.100081", "1.2.840.10008.999.1"] {
            assert!(!is_standard_uid(uid), "{uid}");
        }
        assert!(!is_well_known_instance("1.2.840.10008.5.1.4.1.1.2"));
    }

    #[test]
    fn values_of_other_vrs_are_invalid() {
        assert!(is_valid(VR::CS, b"ORIGINAL\\PRIMARY ") && is_valid(VR::DS, b" 1.5e-3\\2 ") && is_valid(VR::IS, b""));
        assert!(!is_valid(VR::CS, b"Smith") && !is_valid(VR::DS, b"Smith") && !is_valid(VR::US, b"abc"));
    }
}
