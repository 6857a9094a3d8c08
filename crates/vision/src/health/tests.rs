use super::*;
use crate::features::GRID;

const SECOND: i64 = 1_000_000_000;

/// A view with structure; `turn` makes another one.
fn grid(turn: usize) -> Vec<u8> {
    let field = |at: usize| u8::try_from((at.wrapping_mul(2_654_435_761) >> (7 + turn)) % 200).unwrap();
    (0..GRID.0 * GRID.1).map(field).collect()
}

fn good() -> SecondLook {
    SecondLook {
        brightness: 0.5,
        contrast: 0.3,
        sharpness: 0.3,
        change_levels: Some(0.4),
        grid: Some(grid(0)),
        unix_nanos: 0,
    }
}

struct Camera {
    watch: HealthWatch,
    seconds: i64,
}

impl Camera {
    fn new() -> Self {
        let mut camera = Self { watch: HealthWatch::new(0), seconds: 0 };
        assert_eq!(camera.shows(&good(), 30), []);
        camera
    }

    /// What changes in so many seconds, and after how many.
    fn shows(&mut self, look: &SecondLook, seconds: usize) -> Vec<(usize, HealthChange)> {
        let mut changes = Vec::new();
        for second in 1..=seconds {
            self.seconds += 1;
            // Another worker takes over each second.
            self.watch = HealthWatch::from_bytes(&self.watch.to_bytes()).unwrap();
            let look = SecondLook { unix_nanos: self.seconds * SECOND, ..look.clone() };
            changes.extend(self.watch.second(&look).map(|change| (second, change)));
        }
        changes
    }

    fn check(&mut self, look: &SecondLook, state: HealthState, after: usize) {
        let changes = self.shows(look, 30);
        let told: Vec<_> = changes.iter().map(|(second, change)| (*second, change.state)).collect();
        assert_eq!(told, [(after, state)]);
        let back = self.shows(&good(), 30);
        assert_eq!((back[0].0, back[0].1.state, back[0].1.previous, back.len()), (3, HealthState::Ok, state, 1));
        let lasted = u64::try_from(30 - after + 3).unwrap() * 1_000;
        assert_eq!(back[0].1.lasted_millis, lasted);
    }
}

#[test]
fn each_trouble_is_told_once_and_its_end_as_well() {
    let mut camera = Camera::new();
    let dark = SecondLook { brightness: 0.02, contrast: 0.02, ..good() };
    camera.check(&dark, HealthState::Dark, 3);
    camera.check(&SecondLook { contrast: 0.03, sharpness: 0.1, ..good() }, HealthState::Covered, 3);
    camera.check(&SecondLook { sharpness: 0.1, ..good() }, HealthState::Blurred, 3);
    camera.check(&SecondLook { grid: Some(grid(5)), ..good() }, HealthState::Moved, 4);
}

#[test]
fn the_same_picture_is_frozen_after_ten_seconds() {
    let mut camera = Camera::new();
    let same = SecondLook { change_levels: Some(0.0), ..good() };
    let told: Vec<_> = camera.shows(&same, 30).iter().map(|(second, change)| (*second, change.state)).collect();
    assert_eq!(told, [(10, HealthState::Frozen)]);
    // A keyframe of the same picture is not another one; noise is.
    assert_eq!(camera.shows(&SecondLook { change_levels: Some(0.01), ..good() }, 5), []);
    assert_eq!(camera.shows(&good(), 5)[0].0, 3);
}

#[test]
fn what_passes_and_what_stands_between_two_limits_changes_nothing() {
    let mut camera = Camera::new();
    let dark = SecondLook { brightness: 0.02, contrast: 0.02, ..good() };
    for _ in 0..10 {
        assert_eq!(camera.shows(&dark, 2), []);
        assert_eq!(camera.shows(&good(), 2), []);
    }
    assert_eq!(camera.shows(&dark, 3).len(), 1);
    let dusk = SecondLook { brightness: 0.08, contrast: 0.07, ..good() };
    assert_eq!(camera.shows(&dusk, 30), [], "not light enough to be no longer dark");
    assert_eq!(camera.shows(&good(), 5).len(), 1);
    assert_eq!(camera.shows(&dusk, 30), [], "not dark enough to be dark");
}

#[test]
fn a_view_that_stays_becomes_the_usual_one() {
    let mut camera = Camera::new();
    let other = SecondLook { grid: Some(grid(5)), ..good() };
    let told: Vec<_> = camera.shows(&other, 120).iter().map(|(second, change)| (*second, change.state)).collect();
    assert_eq!(told[0], (4, HealthState::Moved));
    assert_eq!((told[1].1, told.len()), (HealthState::Ok, 2));
    assert!((60..=70).contains(&told[1].0), "{told:?}");
    assert_eq!(camera.shows(&good(), 10)[0].1.state, HealthState::Moved, "the view before is another one now");
}

#[test]
fn a_camera_that_goes_on_turning_is_told_when_it_rests() {
    let mut camera = Camera::new();
    for turn in 1..12 {
        assert_eq!(camera.shows(&SecondLook { grid: Some(grid(turn)), ..good() }, 1), []);
    }
}

#[test]
fn a_state_of_something_else_is_none() {
    let state = HealthWatch::new(7);
    assert_eq!(HealthWatch::from_bytes(&state.to_bytes()), Some(state));
    for bytes in [&b""[..], b"{}", b"[1]", b"\xff", &vec![b' '; MAX_STATE_BYTES + 1]] {
        assert_eq!(HealthWatch::from_bytes(bytes), None);
    }
    let text = String::from_utf8(HealthWatch::new(7).to_bytes()).unwrap();
    assert_eq!(HealthWatch::from_bytes(text.replace("\"usual\":\"\"", "\"usual\":\"0001\"").as_bytes()), None);
}
