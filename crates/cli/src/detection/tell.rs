//! Workers in words and as JSON, with what they do in a second.

use super::crews::{CrewChanges, CrewStatus};
use super::post::{WorkState, WorkerStatus};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Rates are taken over at least this time.
const RATE_WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
struct Pace {
    since: Instant,
    looked_at: u64,
    found: u64,
    looks_per_second: f64,
    found_per_second: f64,
}

/// Remembers what is needed to tell rates and changes.
#[derive(Debug, Default)]
pub(crate) struct CrewBoard {
    paces: HashMap<String, Pace>,
    states: HashMap<String, Vec<WorkState>>,
}

impl CrewBoard {
    /// Takes in what is now; the groups of which a worker is in another state than the last time.
    pub(crate) fn update<'a>(&mut self, crews: &'a [CrewStatus]) -> Vec<&'a CrewStatus> {
        self.advance(crews, Instant::now());
        self.states.retain(|group, _| crews.iter().any(|crew| crew.group == *group));
        let mut changed = Vec::new();
        for crew in crews {
            let states: Vec<_> = crew.workers.iter().map(|worker| worker.state.clone()).collect();
            if self.states.get(&crew.group) != Some(&states) {
                self.states.insert(crew.group.clone(), states);
                changed.push(crew);
            }
        }
        changed
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn advance(&mut self, crews: &[CrewStatus], now: Instant) {
        self.paces.retain(|group, _| crews.iter().any(|crew| crew.group == *group));
        for crew in crews {
            let (looked_at, found) = (crew.sums.counts.analysed, crew.sums.counts.detections);
            let new = || Pace { since: now, looked_at, found, looks_per_second: 0.0, found_per_second: 0.0 };
            let pace = self.paces.entry(crew.group.clone()).or_insert_with(new);
            let elapsed = now.duration_since(pace.since);
            if elapsed >= RATE_WINDOW {
                let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / elapsed.as_secs_f64();
                let (looks_per_second, found_per_second) = (rate(pace.looked_at, looked_at), rate(pace.found, found));
                *pace = Pace { since: now, looked_at, found, looks_per_second, found_per_second };
            }
        }
    }

    fn rates(&self, crew: &CrewStatus) -> (f64, f64) {
        self.paces.get(&crew.group).map_or((0.0, 0.0), |pace| (pace.looks_per_second, pace.found_per_second))
    }

    /// A line a group, such as `guards · motion: 29.8 pictures/s, 41.2 found/s; 2 of 2 workers at work`.
    pub(crate) fn lines(&self, crews: &[CrewStatus]) -> Vec<String> {
        let line = |crew: &CrewStatus| {
            let ((looks, found), of) = (self.rates(crew), crew.workers.len());
            let reason = crew.reason().map_or_else(String::new, |reason| format!(": {reason}"));
            let (group, detector, working) = (&crew.group, &crew.detector, crew.working());
            let workers = if of == 1 { "worker" } else { "workers" };
            format!(
                "{group} · {detector}: {looks:.1} pictures/s, {found:.1} found/s; \
                 {working} of {of} {workers} at work{reason}"
            )
        };
        crews.iter().map(line).collect()
    }

    /// What is told of a group now and then.
    pub(crate) fn json(&self, crew: &CrewStatus) -> Value {
        let (looks, found) = self.rates(crew);
        let mut told = crew_json(crew);
        told["pictures_per_second"] = json!(looks);
        told["found_per_second"] = json!(found);
        told
    }
}

/// What a group did, and how its workers are.
pub(crate) fn crew_json(crew: &CrewStatus) -> Value {
    let (counts, written) = (&crew.sums.counts, &crew.sums.written);
    let worker = |worker: &WorkerStatus| json!({ "state": worker.state.as_str(), "reason": worker.state.reason(), "failures": worker.failures });
    json!({
        "group": crew.group, "detector": crew.detector,
        "workers": crew.workers.iter().map(worker).collect::<Vec<_>>(),
        "frames": counts.frames, "analysed": counts.analysed, "detections": counts.detections,
        "superseded": counts.superseded, "skipped": counts.skipped, "undecodable": counts.undecodable,
        "failed": counts.failed, "missing": counts.missing,
        "results": written.results, "transactions": written.transactions, "aborted": written.aborted,
    })
}

/// What has become of the groups at a change of the settings.
pub(crate) fn changes_json(changes: &CrewChanges) -> Value {
    let refused = |(group, why): &(String, String)| json!({ "group": group, "why": why });
    json!({
        "added": changes.added, "changed": changes.changed, "removed": changes.removed, "unchanged": changes.unchanged,
        "refused": changes.refused.iter().map(refused).collect::<Vec<_>>(),
    })
}

/// `detection: added guards; removed faces`
pub(crate) fn changes_line(changes: &CrewChanges) -> Option<String> {
    let rows = [("added", &changes.added), ("changed", &changes.changed), ("removed", &changes.removed)];
    let told = rows.iter().filter(|(_, groups)| !groups.is_empty());
    let mut parts: Vec<_> = told.map(|(what, groups)| format!("{what} {}", groups.join(", "))).collect();
    parts.extend(changes.refused.iter().map(|(group, why)| format!("{group} is not taken: {why}")));
    (!changes.is_empty()).then(|| format!("detection: {}", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Sums;

    fn crew(state: WorkState, analysed: u64, detections: u64) -> CrewStatus {
        let mut sums = Sums::default();
        (sums.counts.analysed, sums.counts.detections) = (analysed, detections);
        let worker = WorkerStatus { state, failures: 0, sums };
        CrewStatus { group: "guards".to_owned(), detector: "motion".to_owned(), workers: vec![worker], sums }
    }

    #[test]
    fn states_are_told_once_and_rates_are_of_the_last_stretch() {
        let mut board = CrewBoard::default();
        let start = Instant::now();
        assert_eq!(board.update(&[crew(WorkState::Starting, 0, 0)]).len(), 1);
        assert!(board.update(&[crew(WorkState::Starting, 0, 0)]).is_empty());
        board.paces.clear();
        board.advance(&[crew(WorkState::Working, 10, 0)], start);
        board.advance(&[crew(WorkState::Working, 60, 100)], start + Duration::from_secs(2));
        let lines = board.lines(&[crew(WorkState::Working, 60, 100)]);
        assert_eq!(lines, ["guards · motion: 25.0 pictures/s, 50.0 found/s; 1 of 1 worker at work"]);
        let failed = crew(WorkState::Failed { reason: "no model".into() }, 60, 100);
        assert!(board.lines(&[failed])[0].ends_with("0 of 1 worker at work: no model"));
        let waiting = crew(WorkState::Waiting { reason: "no topic yet".into() }, 60, 100);
        assert_eq!(waiting.trouble(), None);
        assert!(board.lines(&[waiting])[0].ends_with("0 of 1 worker at work: no topic yet"));
        assert!(board.update(&[]).is_empty() && board.states.is_empty() && board.paces.is_empty());
    }

    #[test]
    fn changes_in_one_line() {
        let mut changes = CrewChanges { unchanged: vec!["a".to_owned()], ..CrewChanges::default() };
        assert_eq!(changes_line(&changes), None);
        changes.added = vec!["b".to_owned(), "c".to_owned()];
        changes.removed = vec!["d".to_owned()];
        assert_eq!(changes_line(&changes).as_deref(), Some("detection: added b, c; removed d"));
    }
}
