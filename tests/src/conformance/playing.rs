//! Playing one stream across its moves.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::Site;
use crate::conformance::retention::delete_records;
use crate::load::{Camera, PATIENCE, Traffic};
use lumenbus_bus::SystemClock;
use lumenbus_bus::playback::Player;
use lumenbus_bus::publisher::Publisher;
use lumenbus_bus::subscriber::Event;
use lumenbus_frame::{Clock as _, FrameId, GapReason, StreamId};
use std::time::{Duration, Instant};

const VIDEO: &str = "raw_video";
const STILLS: &str = "raw_images";

/// The next frames; nothing but frames and the ends of epochs may come between them.
fn play(player: &mut Player, frames: usize) -> Vec<FrameId> {
    let (start, mut ids) = (Instant::now(), Vec::new());
    while ids.len() < frames {
        assert!(start.elapsed() < PATIENCE, "{} of {frames} frames came: {ids:?}", ids.len());
        match player.recv(Duration::from_secs(1)).unwrap() {
            Some(Event::Frame(frame)) => ids.push(frame.id()),
            Some(Event::End { .. }) | None => {}
            Some(event) => panic!("after {ids:?}: {event:?}"),
        }
    }
    ids
}

fn ids(camera: &Camera) -> Vec<FrameId> {
    camera.queued.keys().copied().collect()
}

/// Goes to the first frame of the partition in which the stream was at this moment.
fn begin(player: &mut Player, stream: &StreamId, unix_nanos: i64) {
    let mut keyframe = player.index().find(stream, unix_nanos).unwrap().remove(0);
    while let Some(before) = player.index().before(stream, &keyframe).unwrap() {
        keyframe = before;
    }
    player.play_from(stream, &keyframe).unwrap();
}

/// A camera that has sent so many frames in GOPs of ten, and a player at its first.
fn recorded(site: &Site, frames: u64) -> (Publisher, Camera, Player) {
    site.create_topics(&[VIDEO]);
    let publisher = site.publisher();
    let mut camera = Camera::open_with(&publisher, "mover", VIDEO, Some(0)).with_gop(10);
    camera.send_many(frames, 2_000);
    camera.flush();
    let mut player = Player::open(&site.bus).unwrap();
    begin(&mut player, camera.handle.id(), SystemClock.unix_nanos());
    (publisher, camera, player)
}

/// On a topic without `moved`: others in the old partition send on for seconds, which say nothing of when the move was.
pub fn a_move_that_only_the_directory_tells(site: &Site) {
    site.create_topics(&[STILLS]);
    let publisher = site.publisher();
    let [mut mover, neighbour] =
        ["mover", "neighbour"].map(|name| Camera::open_with(&publisher, name, STILLS, Some(0)).with_gop(1));
    mover.send_many(10, 2_000);
    mover.flush();
    let before_move = SystemClock.unix_nanos();
    mover.handle.move_to(1).unwrap();
    mover.send_many(10, 2_000);
    mover.flush();
    let traffic = Traffic::start(vec![neighbour], 1_000, Duration::from_millis(100));
    traffic.wait_for(45);
    traffic.stop().iter().for_each(Camera::flush);
    let mut player = Player::open(&site.bus).unwrap();
    player.index().directory().sync().unwrap();
    begin(&mut player, mover.handle.id(), before_move);
    let all = ids(&mover);
    let mut played = Vec::new();
    let start = Instant::now();
    while played.len() < all.len() {
        assert!(start.elapsed() < PATIENCE, "{played:?}");
        if let Some(Event::Frame(frame)) = player.recv(Duration::from_secs(1)).unwrap() {
            played.push(frame.id());
        }
    }
    assert_eq!(played, all);
}

/// The directory has the move at once, the stream makes it at its next keyframe: until then it is played where it is.
pub fn a_move_while_the_end_is_played(site: &Site) {
    let (_publisher, mut camera, mut player) = recorded(site, 13);
    let mut played = play(&mut player, 13);
    for partition in [2, 0, 3] {
        camera.handle.move_to(partition).unwrap();
        player.index().directory().sync().unwrap();
        // Seven of the old epoch, three of the new one; at each the player comes to the end of what there is.
        for _ in 0..10 {
            camera.send(2_000);
            camera.flush();
            played.extend(play(&mut player, 1));
            let start = Instant::now();
            while !player.is_at_end() {
                assert!(start.elapsed() < PATIENCE, "the end does not come");
                match player.recv(Duration::from_millis(10)).unwrap() {
                    None | Some(Event::End { .. }) => {}
                    Some(event) => panic!("{event:?}"),
                }
            }
        }
    }
    assert_eq!(played, ids(&camera));
}

/// Behind the move the oldest frames are gone: by retention, and that is what is told.
pub fn a_move_whose_beginning_retention_took(site: &Site) {
    let (_publisher, mut camera, mut player) = recorded(site, 20);
    camera.handle.move_to(1).unwrap();
    camera.send_many(30, 2_000);
    camera.flush();
    delete_records(site, 1, 10);
    let (start, mut frames, mut gaps) = (Instant::now(), 0, Vec::new());
    while frames < 40 {
        assert!(start.elapsed() < PATIENCE, "{frames} frames came, {gaps:?}");
        match player.recv(Duration::from_secs(1)).unwrap() {
            Some(Event::Frame(_)) => frames += 1,
            Some(Event::Gap { gap, .. }) => gaps.push((gap.first.0, gap.last.map(|last| last.0), gap.reason)),
            _ => {}
        }
    }
    assert_eq!(gaps, [(0, Some(9), GapReason::Retention)]);
}
