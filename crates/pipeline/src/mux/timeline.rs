//! Decode times for frames that only say when they are to be shown; pure.

/// A step in presentation time larger than this begins anew.
const MAX_STEP_SECONDS: i64 = 2;
/// Presentation times beyond this are brought back to it; sums of them still fit.
const MAX_TICKS: i64 = 1 << 60;

/// A picture is decoded at most so many frames before it is shown (16 by the standards, and some).
const MAX_AHEAD: i64 = 20;

/// One frame's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed {
    /// When it is decoded: later than every frame before.
    pub decode_ticks: u64,
    /// Presentation minus decode time.
    pub composition_offset: i32,
    /// Expected time until the next frame.
    pub duration: u32,
}

impl Timed {
    /// When it is shown.
    #[must_use]
    pub fn presentation_ticks(&self) -> u64 {
        self.decode_ticks.saturating_add_signed(i64::from(self.composition_offset))
    }
}

/// Lays frames out without holes, as they come in decode order.
///
/// Presentation times are kept exactly, put off by `reorder` frames so that none lies before its decode time. Decode
/// times follow at the frame interval. Where presentation jumps, the new part follows the old one directly.
#[derive(Debug, Clone)]
pub struct Timeline {
    timescale: i64,
    reorder: i64,
    interval: i64,
    /// Media time minus the stream's presentation time.
    shift: Option<i64>,
    last_decode: Option<i64>,
    last_pts: i64,
    /// End of what is laid out: nothing new may cover it.
    shown_until: i64,
}

impl Timeline {
    /// Begins at 0. `interval` is the usual time between frames, in ticks; `reorder` how many frames may come before
    /// one that is shown earlier.
    #[must_use]
    pub fn new(timescale: u32, interval: u32, reorder: usize) -> Self {
        let reorder = i64::try_from(reorder.min(16)).unwrap_or(16);
        let interval = i64::from(interval).max(1);
        Self {
            timescale: i64::from(timescale),
            reorder,
            interval,
            shift: None,
            last_decode: None,
            last_pts: 0,
            shown_until: 0,
        }
    }

    /// What presentation times are put off by.
    #[must_use]
    pub fn delay_ticks(&self) -> u32 {
        u32::try_from(self.reorder * self.interval).unwrap_or(u32::MAX)
    }

    /// Other parameters hold from the next frame on, which begins anew.
    pub fn change(&mut self, interval: u32, reorder: usize) {
        let other = Self::new(1, interval, reorder);
        (self.interval, self.reorder, self.shift) = (other.interval, other.reorder, None);
    }

    /// Places the next frame in decode order. `begins_anew`: frames before it are missing or belong elsewhere.
    pub fn place(&mut self, pts_ticks: i64, begins_anew: bool) -> Timed {
        let pts_ticks = pts_ticks.clamp(-MAX_TICKS, MAX_TICKS);
        let next = self.last_decode.map_or(0, |last| last + self.interval);
        let is_jump = (pts_ticks - self.last_pts).abs() > MAX_STEP_SECONDS * self.timescale;
        let shift = match self.shift {
            Some(shift) if !begins_anew && !is_jump => shift,
            _ => (next + self.reorder * self.interval).max(self.shown_until) - pts_ticks,
        };
        self.shift = Some(shift);
        let shown = pts_ticks.saturating_add(shift);
        let decode = self.decode_time(shown, next);
        self.learn(pts_ticks);
        self.shown_until = self.shown_until.max(shown + self.interval);
        (self.last_decode, self.last_pts) = (Some(decode), pts_ticks);
        let offset = shown.saturating_sub(decode);
        Timed {
            decode_ticks: u64::try_from(decode).unwrap_or(0),
            composition_offset: i32::try_from(offset).unwrap_or(0),
            duration: u32::try_from(self.interval).unwrap_or(1),
        }
    }

    fn decode_time(&self, shown: i64, next: i64) -> i64 {
        let delay = self.reorder * self.interval;
        let wanted = match self.reorder {
            0 => shown,
            // Frames were left out, or come slower than told: what lags behind catches up.
            _ if shown - next > delay + MAX_AHEAD * self.interval => shown - delay,
            _ => next.min(shown),
        };
        wanted.max(self.last_decode.map_or(0, |last| last + 1))
    }

    /// Without reordering, the last step is the best guess of the next.
    fn learn(&mut self, pts_ticks: i64) {
        let step = pts_ticks - self.last_pts;
        let is_step = self.reorder == 0 && self.last_decode.is_some() && (1..=self.timescale).contains(&step);
        if is_step {
            self.interval = step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(timeline: &mut Timeline, pts: &[i64]) -> Vec<(u64, i32)> {
        let timed = pts.iter().map(|pts| timeline.place(*pts, false));
        timed.map(|timed| (timed.decode_ticks, timed.composition_offset)).collect()
    }

    #[test]
    fn without_reordering_decode_is_presentation() {
        let mut timeline = Timeline::new(90_000, 3_000, 0);
        assert_eq!(
            place(&mut timeline, &[9_000, 12_000, 15_003, 18_000]),
            [(0, 0), (3_000, 0), (6_003, 0), (9_000, 0)]
        );
    }

    #[test]
    fn with_reordering_no_frame_is_shown_before_it_is_decoded() {
        // I0 P3 B1 B2 P6 B4 B5, 1 tick a frame times 10.
        let mut timeline = Timeline::new(1_000, 10, 1);
        let placed = place(&mut timeline, &[0, 30, 10, 20, 60, 40, 50]);
        let shown: Vec<i64> = placed.iter().map(|(at, by)| i64::try_from(*at).unwrap() + i64::from(*by)).collect();
        assert_eq!(shown, [10, 40, 20, 30, 70, 50, 60]);
        assert_eq!(placed.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 10, 20, 30, 40, 50, 60]);
        assert!(placed.iter().all(|(_, by)| *by >= 0), "{placed:?}");
    }

    #[test]
    fn jumps_leave_no_hole() {
        let mut timeline = Timeline::new(1_000, 40, 0);
        let placed = place(&mut timeline, &[0, 40, 100_000, 100_040, 5, 45]);
        assert_eq!(placed.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 40, 80, 120, 160, 200]);
        assert_eq!(timeline.place(600, true).decode_ticks, 240);
    }

    #[test]
    fn decode_times_rise_whatever_comes() {
        let mut timeline = Timeline::new(90_000, 3_000, 4);
        let mut last = None;
        for pts in [0, i64::MAX, i64::MIN, 5, 5, 5, 4, -90_000, 1 << 40] {
            let timed = timeline.place(pts, false);
            assert!(last.is_none_or(|last| timed.decode_ticks > last), "{pts}");
            last = Some(timed.decode_ticks);
        }
    }
}
