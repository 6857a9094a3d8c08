//! Rate control: a quantiser for each picture from a model of recent sizes, within a budget of bytes.
//!
//! The quantiser stays as it is for as long as the budget permits, which gives the best pictures for the bits; what
//! differs from the plan is made good over [`REPAY_SECONDS`]. No picture is left out. A size is taken as
//! `complexity · 2^(−qp / step)`; keyframes and the pictures between them have a complexity each. How the constants came
//! about is in docs/design/h264.md.

use super::change::Change;

/// The quantisers that are used. Below the first nothing is left that an eye or SSIM would see.
const FINEST: f64 = 16.0;
const COARSEST: f64 = 51.0;
/// Quantiser steps in which a picture's size halves.
const KEY_STEP: f64 = 7.0;
const DELTA_STEP: f64 = 5.0;
/// Size of a first delta picture, of its keyframe's at the same quantiser, until there is one.
const FIRST_GUESS: f64 = 0.2;
/// How far the quantiser that fits has to be from the one in use before that is changed.
const HYSTERESIS: f64 = 0.6;
/// Time within which what was spent too much is made good, and what was saved is spent.
const REPAY_SECONDS: f64 = 20.0;
const SPEND_SECONDS: f64 = 60.0;
/// Of the budget, what a scene at rest may leave for later.
const SAVED_SECONDS: f64 = 5.0;
/// What the complexity of delta pictures is an average of.
const MEMORY_SECONDS: f64 = 30.0;
/// Steps in a second by which the quantiser becomes finer at most: a scene that comes to rest is not coded over and over.
const FINER_PER_SECOND: f64 = 0.3;
/// Steps by which keyframes are finer than the pictures that repeat most of them: fewer where much moves.
const KEY_GAIN: std::ops::RangeInclusive<f64> = 2.0..=9.0;
const KEY_GAIN_SLOPE: f64 = 2.0;
/// Steps by which a picture is finer that renews the background.
const REFRESH_GAIN: f64 = 3.0;

/// What a stream may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) bits_per_second: f64,
    pub(super) pictures_per_second: f64,
    /// Pictures from one keyframe to the next.
    pub(super) gop: u32,
}

/// A picture as far as it is known before it is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Keyframe,
    Delta(Change),
}

#[derive(Debug)]
pub(super) struct RateControl {
    /// Bits of a picture, on average.
    share: f64,
    rate: f64,
    gop: f64,
    key: Complexity,
    delta: Complexity,
    /// Of delta pictures.
    qp: f64,
    /// Bits spent above the budget; negative: below.
    debt: f64,
    /// The newest keyframe's bits, and delta pictures since.
    key_bits: f64,
    since_key: f64,
}

/// A kind of picture's bits at quantiser 0, as the model has it.
#[derive(Debug, Clone, Copy)]
struct Complexity {
    bits: f64,
    step: f64,
    seen: f64,
    /// Pictures that the average goes over.
    memory: f64,
}

impl Complexity {
    fn new(first_bits: f64, first_qp: f64, step: f64, memory: f64) -> Self {
        Self { bits: first_bits.max(1.0) * (first_qp / step).exp2(), step, seen: 0.0, memory: memory.max(1.0) }
    }

    fn at(&self, qp: f64) -> f64 {
        self.bits * (-qp / self.step).exp2()
    }

    fn learn(&mut self, qp: f64, bits: f64) {
        self.seen = (self.seen + 1.0).min(self.memory);
        self.bits += (bits * (qp / self.step).exp2() - self.bits) / self.seen;
    }
}

impl RateControl {
    /// `first_bits` is the size of the first picture as a keyframe with `first_qp`.
    pub(super) fn new(budget: Budget, first_qp: u8, first_bits: f64) -> Self {
        let rate = budget.pictures_per_second;
        let gop = f64::from(budget.gop.max(1));
        let share = budget.bits_per_second / rate;
        let first_qp = f64::from(first_qp);
        let mut control = Self {
            share,
            rate,
            gop,
            key: Complexity::new(first_bits, first_qp, KEY_STEP, 2.0),
            delta: Complexity::new(first_bits * FIRST_GUESS, first_qp, DELTA_STEP, MEMORY_SECONDS * rate),
            qp: 0.0,
            debt: 0.0,
            key_bits: share,
            since_key: 0.0,
        };
        control.qp = control.fitting().round();
        control
    }

    /// The quantiser of the next picture.
    pub(super) fn next_qp(&mut self, kind: Kind) -> u8 {
        let away = self.fitting() - self.qp;
        if away.abs() > HYSTERESIS {
            // Coarser by a step at a time, by more only where the model is far off.
            let coarser = if away > 4.0 { 3.0 } else { 1.0 };
            self.qp += away.round().clamp(-(FINER_PER_SECOND / self.rate).min(1.0), coarser);
        }
        whole(match kind {
            Kind::Keyframe => self.qp - self.key_gain(),
            Kind::Delta(Change::Refresh) => self.qp - REFRESH_GAIN,
            Kind::Delta(Change::Usual | Change::Cut) => self.qp,
        })
    }

    /// The picture came out with so many bits.
    pub(super) fn coded(&mut self, is_keyframe: bool, qp: u8, bits: f64) {
        let most_saved = SAVED_SECONDS * self.rate * self.share;
        self.debt = (self.debt + bits - self.share).max(-most_saved);
        if is_keyframe {
            self.key.learn(f64::from(qp), bits);
            (self.key_bits, self.since_key) = (bits, 0.0);
        } else {
            self.delta.learn(f64::from(qp), bits);
            self.since_key += 1.0;
        }
    }

    /// The less moves, the longer a keyframe's fine detail stays in view.
    fn key_gain(&self) -> f64 {
        if self.gop < 2.0 {
            return 0.0;
        }
        let moving = self.delta.at(self.qp) / self.key.at(self.qp).max(1.0);
        (-moving.log2() * KEY_GAIN_SLOPE).clamp(*KEY_GAIN.start(), *KEY_GAIN.end())
    }

    /// The quantiser of delta pictures with which a GOP costs what it may.
    fn fitting(&self) -> f64 {
        // A keyframe's surplus is no debt: the rest of its GOP is there to pay for it.
        let planned = (self.key_bits - self.share) * (1.0 - self.since_key / self.gop).max(0.0);
        let overdue = self.debt - planned;
        let seconds = if overdue > 0.0 { REPAY_SECONDS } else { SPEND_SECONDS };
        let whole_gop = self.share * self.gop;
        let budget = (whole_gop - overdue * self.gop / (seconds * self.rate)).clamp(0.1 * whole_gop, 4.0 * whole_gop);
        let gain = self.key_gain();
        let cost = |qp: f64| self.key.at(qp - gain) + (self.gop - 1.0) * self.delta.at(qp);
        let (mut low, mut high) = (FINEST, COARSEST);
        // Halving 35 steps ten times is exact to a twentieth.
        for _ in 0..10 {
            let middle = f64::midpoint(low, high);
            if cost(middle) > budget { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    }
}

fn whole(qp: f64) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range of quantisers")]
    let qp = qp.clamp(FINEST, COARSEST).round() as u8;
    qp
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { bits_per_second: 1e6, pictures_per_second: 25.0, gop: 50 };
    const SHARE: f64 = 40_000.0;

    /// A coder whose pictures cost what the model says, of complexities that the model has to find out.
    struct Scene {
        key: f64,
        delta: f64,
    }

    impl Scene {
        fn bits(&self, is_keyframe: bool, qp: u8) -> f64 {
            let (bits, step) = if is_keyframe { (self.key, 6.0) } else { (self.delta, 6.0) };
            bits * (-f64::from(qp) / step).exp2()
        }
    }

    /// Codes so many pictures; returns the bits of each and the quantisers of delta pictures.
    fn code(control: &mut RateControl, scene: &Scene, pictures: u32) -> (Vec<f64>, Vec<u8>) {
        let (mut sizes, mut quantisers) = (Vec::new(), Vec::new());
        for index in 0..pictures {
            let is_keyframe = index % BUDGET.gop == 0;
            let qp = control.next_qp(if is_keyframe { Kind::Keyframe } else { Kind::Delta(Change::Usual) });
            let bits = scene.bits(is_keyframe, qp);
            control.coded(is_keyframe, qp, bits);
            sizes.push(bits);
            if !is_keyframe {
                quantisers.push(qp);
            }
        }
        (sizes, quantisers)
    }

    fn mean(sizes: &[f64]) -> f64 {
        sizes.iter().sum::<f64>() / f64::from(u32::try_from(sizes.len()).unwrap())
    }

    #[test]
    fn the_budget_is_kept_and_the_quantiser_rests() {
        for moving in [0.02, 0.1, 0.4] {
            let scene = Scene { key: 1e7, delta: 1e7 * moving };
            let mut control = RateControl::new(BUDGET, 26, scene.bits(true, 26));
            code(&mut control, &scene, 1_500);
            let (sizes, quantisers) = code(&mut control, &scene, 1_500);
            let part = mean(&sizes) / SHARE;
            let (least, most) = (quantisers.iter().min().unwrap(), quantisers.iter().max().unwrap());
            assert!((0.93..=1.07).contains(&part) || *most == 16, "{moving}: {part}, {least} to {most}");
            assert!(most - least <= 2, "{moving}: {least} to {most}");
        }
    }

    #[test]
    fn a_scene_that_begins_to_move_costs_no_more_for_long() {
        let (rest, motion) = (Scene { key: 1e7, delta: 1e5 }, Scene { key: 1e7, delta: 5e6 });
        let mut control = RateControl::new(BUDGET, 26, rest.bits(true, 26));
        code(&mut control, &rest, 500);
        code(&mut control, &motion, 250);
        let (sizes, _) = code(&mut control, &motion, 750);
        assert!(mean(&sizes) < 1.05 * SHARE, "{}", mean(&sizes) / SHARE);
    }

    #[test]
    fn what_a_scene_at_rest_leaves_is_limited() {
        let (empty, motion) = (Scene { key: 1e4, delta: 1e2 }, Scene { key: 1e7, delta: 2e6 });
        let mut control = RateControl::new(BUDGET, 26, empty.bits(true, 26));
        let (_, quantisers) = code(&mut control, &empty, 5_000);
        assert_eq!(quantisers.last(), Some(&16), "nothing is spent below the finest");
        let (sizes, _) = code(&mut control, &motion, 2_500);
        let surplus = sizes.iter().sum::<f64>() - 2_500.0 * SHARE;
        assert!(surplus < 1.1 * SAVED_SECONDS * BUDGET.bits_per_second, "{surplus}");
    }

    #[test]
    fn sizes_out_of_all_proportion_are_taken() {
        for bits in [0.0, 1.0, 1e12] {
            for gop in [0, 1, u32::MAX] {
                let mut control = RateControl::new(Budget { gop, ..BUDGET }, 26, bits);
                for kind in [Kind::Keyframe, Kind::Delta(Change::Refresh), Kind::Delta(Change::Usual)] {
                    let qp = control.next_qp(kind);
                    assert!((16..=51).contains(&qp), "{bits} {gop}: {qp}");
                    control.coded(kind == Kind::Keyframe, qp, bits);
                }
            }
        }
    }
}
