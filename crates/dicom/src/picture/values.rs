//! Attributes of one frame: its own, those of all frames, those of the image.

use super::tag;
use crate::attributes::{Attribute, Attributes};
use crate::charset;
use crate::element::Tag;

/// Most values of an attribute that are read.
const MAX_VALUES: usize = 64;

/// Where values of a frame are looked for.
pub(super) struct Values<'a> {
    pub(super) attributes: &'a Attributes,
    /// From 0.
    pub(super) frame: u64,
}

impl<'a> Values<'a> {
    /// In the functional groups (PS3.3, C.7.6.16), else at the top.
    fn value(&self, tag: Tag) -> Option<&'a [u8]> {
        let groups = |sequence: Tag, item: u64| {
            let sequence = self.attributes.list.iter().find(|attribute| attribute.tag == sequence)?;
            let item = sequence.items.get(usize::try_from(item).ok()?)?;
            item.iter().find_map(|group| in_list(group.items.first()?, tag))
        };
        groups(tag::FRAME_GROUPS, self.frame)
            .or_else(|| groups(tag::SHARED_GROUPS, 0))
            .or_else(|| in_list(&self.attributes.list, tag))
    }

    /// Values of VR DS; those behind the first that is none are left out.
    pub(super) fn decimals(&self, tag: Tag) -> Vec<f64> {
        let text = self.value(tag).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        let number = |text: &str| text.trim_matches(['\0', ' ']).parse().ok().filter(|number: &f64| number.is_finite());
        text.split('\\').take(MAX_VALUES).map_while(number).collect()
    }

    pub(super) fn texts(&self, tag: Tag) -> Vec<String> {
        let set = self.attributes.value(Tag::SPECIFIC_CHARACTER_SET);
        let text = self.value(tag).map(|value| charset::text(value, set)).unwrap_or_default();
        let texts = text.split('\\').take(MAX_VALUES).map(|name| name.trim().chars().take(64).collect());
        if text.is_empty() { Vec::new() } else { texts.collect() }
    }
}

fn in_list(list: &[Attribute], tag: Tag) -> Option<&[u8]> {
    list.iter().find(|attribute| attribute.tag == tag)?.value.as_deref()
}
