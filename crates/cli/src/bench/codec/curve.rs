//! Quality over rate, and which rate gives a quality: linear in SSIM and in the logarithm of the rate.

/// A measured pair of rate, in any unit, and SSIM.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) rate: f64,
    pub(super) ssim: f64,
}

/// Samples by rate.
#[derive(Debug, Clone, Default)]
pub(super) struct Curve(Vec<Sample>);

impl Curve {
    pub(super) fn new(mut samples: Vec<Sample>) -> Self {
        samples.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        Self(samples)
    }

    pub(super) fn lowest(&self) -> Option<Sample> {
        self.0.first().copied()
    }

    pub(super) fn highest(&self) -> Option<Sample> {
        self.0.last().copied()
    }

    /// `None` beyond what was measured.
    pub(super) fn rate_at(&self, ssim: f64) -> Option<f64> {
        self.0.windows(2).find_map(|pair| {
            let [a, b] = [pair[0], pair[1]];
            (a.ssim <= ssim && ssim <= b.ssim).then(|| {
                let part = if b.ssim > a.ssim { (ssim - a.ssim) / (b.ssim - a.ssim) } else { 0.0 };
                (a.rate.ln() + part * (b.rate / a.rate).ln()).exp()
            })
        })
    }

    /// `None` beyond what was measured.
    pub(super) fn ssim_at(&self, rate: f64) -> Option<f64> {
        self.0.windows(2).find_map(|pair| {
            let [a, b] = [pair[0], pair[1]];
            (a.rate <= rate && rate <= b.rate).then(|| {
                let part = if b.rate > a.rate { (rate / a.rate).ln() / (b.rate / a.rate).ln() } else { 0.0 };
                a.ssim + part * (b.ssim - a.ssim)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_interpolated_by_their_logarithm() {
        let sample = |rate, ssim| Sample { rate, ssim };
        let curve = Curve::new(vec![sample(400.0, 0.9), sample(100.0, 0.8), sample(1600.0, 0.95)]);
        let close = |a: Option<f64>, b: f64| assert!(a.is_some_and(|a| (a / b - 1.0).abs() < 1e-9), "{a:?} {b}");
        close(curve.rate_at(0.85), 200.0);
        close(curve.rate_at(0.8), 100.0);
        close(curve.rate_at(0.95), 1600.0);
        close(curve.ssim_at(800.0), 0.925);
        close(curve.ssim_at(100.0), 0.8);
        assert_eq!((curve.rate_at(0.79), curve.rate_at(0.96)), (None, None));
        assert_eq!((curve.ssim_at(99.0), Curve::default().ssim_at(1.0)), (None, None));
        assert_eq!((curve.lowest(), curve.highest()), (Some(sample(100.0, 0.8)), Some(sample(1600.0, 0.95))));
    }
}
