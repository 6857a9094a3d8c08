use super::*;
use proptest::prelude::*;

/// What may happen to a log.
#[derive(Debug, Clone)]
enum Step {
    Append { sizes: Vec<usize>, codec: i16 },
    Read { at: prop::sample::Index, budget: usize },
    DeleteBelow { at: prop::sample::Index },
    Housekeeping,
    CleanRestart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (proptest::collection::vec(0_usize..400, 1..6), 0_i16..5)
            .prop_map(|(sizes, codec)| Step::Append { sizes, codec }),
        4 => (any::<prop::sample::Index>(), 0_usize..3000)
            .prop_map(|(at, budget)| Step::Read { at, budget }),
        1 => any::<prop::sample::Index>().prop_map(|at| Step::DeleteBelow { at }),
        2 => Just(Step::Housekeeping),
        1 => Just(Step::CleanRestart),
        1 => Just(Step::Crash),
    ]
}

/// The naive twin: a list of values, and where it starts.
#[derive(Debug, Default)]
struct Model {
    values: Vec<Vec<u8>>,
    start: usize,
}

fn check(log: &Partition, model: &Model, from: usize, budget: usize) {
    let records = read_from(log, i64::try_from(from).unwrap(), budget);
    let values: Vec<_> = records.into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, model.values[from..]);
}

fn apply(store: &mut Option<LogStore>, dir: &Path, model: &mut Model, step: Step) {
    let held = store.as_ref().unwrap();
    let log = held.partition("t", 0).unwrap();
    let pick = |at: prop::sample::Index| model.start + at.index(model.values.len() - model.start + 1);
    match step {
        Step::Append { sizes, codec } => {
            let first = model.values.len();
            model.values.extend(sizes.iter().enumerate().map(|(i, size)| value(first + i, *size)));
            let borrowed: Vec<&[u8]> = model.values[first..].iter().map(Vec::as_slice).collect();
            let batch = BatchSpec::values(&borrowed, NOW).compressed(codec).bytes();
            assert_eq!(append(&log, batch).unwrap().base_offset, i64::try_from(first).unwrap());
        }
        Step::Read { at, budget } => check(&log, model, pick(at), budget),
        Step::DeleteBelow { at } => {
            model.start = pick(at);
            let start = i64::try_from(model.start).unwrap();
            assert_eq!(held.delete_records("t", 0, start).unwrap(), start);
        }
        Step::Housekeeping => drop(checkpoint(held)),
        Step::CleanRestart => {
            held.close().unwrap();
            *store = None;
            let (opened, report) = open_reported(dir);
            assert!(report.clean && report.scanned_bytes == 0 && report.notes.is_empty(), "{report:?}");
            *store = Some(opened);
        }
        Step::Crash => {
            // Everything appended is in the page cache, which outlives the process.
            *store = None;
            let (opened, report) = open_reported(dir);
            assert!(!report.clean && report.truncated_bytes == 0, "{report:?}");
            *store = Some(opened);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_log_behaves_like_a_list(steps in proptest::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let settings = [("segment.bytes", "2500"), ("index.interval.bytes", "300")];
        let mut store = Some(with_topic(dir.path(), &settings).0);
        let mut model = Model::default();
        for step in steps {
            apply(&mut store, dir.path(), &mut model, step);
            let log = store.as_ref().unwrap().partition("t", 0).unwrap();
            prop_assert_eq!(log.high_watermark(), i64::try_from(model.values.len()).unwrap());
            prop_assert_eq!(log.log_start_offset(), i64::try_from(model.start).unwrap());
        }
        check(&store.unwrap().partition("t", 0).unwrap(), &model, model.start, 1 << 20);
    }
}
