//! The footage inside the program. Whose it is: `fixtures/clips/NOTICE`.

use bytes::Bytes;

/// One clip, an MP4 file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clip {
    /// As messages name it.
    pub(crate) name: &'static str,
    bytes: &'static [u8],
}

impl Clip {
    /// The file, not copied.
    pub(crate) fn bytes(self) -> Bytes {
        Bytes::from_static(self.bytes)
    }
}

/// 1280×720, 30 fps, B-frames; a hand-held close-up.
pub(crate) const FLOWER: Clip =
    Clip { name: "flower.mp4", bytes: include_bytes!("../../../../fixtures/clips/flower.mp4") };
/// 768×576, 10 fps; pedestrians.
pub(crate) const PLAZA: Clip =
    Clip { name: "plaza.mp4", bytes: include_bytes!("../../../../fixtures/clips/plaza.mp4") };
/// 768×432, 10 fps; people one by one.
pub(crate) const CORRIDOR: Clip =
    Clip { name: "corridor.mp4", bytes: include_bytes!("../../../../fixtures/clips/corridor.mp4") };

/// Shown with the pictures: the licence of one of them demands it.
pub(crate) const CREDITS: &str = "Footage: OpenH264 (Cisco, BSD-2-Clause), OpenCV (Apache-2.0), Intel Corporation (CC BY 4.0); fixtures/clips/NOTICE";
