//! `lumenbus size`: the arithmetic by hand.

use lumenbus_tests::cli::run;
use serde_json::Value;

fn number(summary: &Value, name: &str) -> f64 {
    summary[name].as_f64().unwrap_or_else(|| panic!("{name} is not in {summary}"))
}

fn is(found: f64, expected: f64) {
    assert!((found - expected).abs() <= expected * 1e-9, "{found} is not {expected}");
}

#[test]
fn a_day_at_2_3_mbit_is_24_8_gb_a_camera() {
    let ran = run("size --cameras 8 --mbit 2.3 --keep 24h --replication 1").code(0);
    assert!(ran.stdout.starts_with("one camera"), "{}", ran.stdout);
    assert!(ran.stdout.lines().next().unwrap().ends_with("2.3 Mbit/s / 8 × 86400 s = 24.8 GB"), "{}", ran.stdout);
    assert!(ran.stdout.contains("8 cameras: 1 broker with "), "{}", ran.stdout);
}

/// 40 × (4 Mbit/s / 8 + 25 × 120 B) = 20.12 MB/s, three copies, two readers, three brokers.
#[test]
fn forty_cameras_on_three_brokers() {
    let ran = run("size --cameras 40 --mbit 4 --keep 24h --json").code(0);
    let summary = ran.summary();
    is(number(&summary, "camera_bytes"), 43.2e9);
    let stored = 20.12e6 * 86_400.0 + 40.0 * f64::from(1 << 30);
    is(number(&summary, "stored_bytes"), stored);
    is(number(&summary, "disk_bytes"), stored * 3.0 / 0.8);
    is(number(&summary, "disk_bytes_per_broker"), stored / 0.8);
    is(number(&summary, "in_bits_per_second_per_broker"), 160.96e6);
    is(number(&summary, "out_bits_per_second_per_broker"), 160.96e6 * 4.0 / 3.0);
    assert_eq!((&summary["partitions"], &summary["brokers"]), (&48.into(), &3.into()));
    assert_eq!(ran.objects("step").len(), 12, "each step is shown");
}

#[test]
fn what_does_not_fit_is_told_with_code_3() {
    let ran = run("size --cameras 40 --mbit 4 --replication 1 --broker-count 1 --disk 1TB").code(3);
    assert!(
        ran.stdout.contains("problem: a disk of 1.00 TB is too small: each broker needs 2.21 TB"),
        "{}",
        ran.stdout
    );
    run("size --cameras 500 --mbit 8 --broker-count 3").code(3);
}

#[test]
fn nonsense_is_wrong_usage() {
    run("size").code(2).says("--cameras");
    run("size --cameras 0").code(2).says("--cameras");
    run("size --cameras 4 --mbit -1").code(2);
    run("size --cameras 4 --mbit nan").code(2).says("--mbit");
    run("size --cameras 4 --keep 0s").code(2).says("--keep");
    run("size --cameras 4 --disk lots").code(2).says("lots");
    // Absurd, but a number: no overflow, only a network that does not suffice.
    run("size --cameras 1000000 --mbit 1000000 --keep 100y").code(3);
}
