//! `docs/reference/broker-api.md`: which APIs and versions the broker speaks, and which judge asks for which of them.
//!
//! With `LUMENBUS_RECORD=1` the table is brought up to date; otherwise a judge may ask for nothing that is not in it.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use crate::python::in_repository;
use lumenbus_broker::ApiRequests;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

const RECORD: &str = "docs/reference/broker-api.md";
const HEAD: &str = "| API | Key | Versions | Asked for by |\n|---|---|---|---|\n";
/// Whether a run needs these at all is a matter of time.
const TIMED: [&str; 3] = ["Heartbeat", "LeaveGroup", "OffsetForLeaderEpoch"];

/// Their versions are those of the library that the system gives them, which is another one on another system.
const OF_THE_SYSTEM: [&str; 1] = ["kcat"];

/// Judges and the versions they ask for; none for those [`OF_THE_SYSTEM`].
type Judges = BTreeMap<String, Vec<i16>>;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    api: String,
    key: i16,
    versions: String,
    judges: Judges,
}

impl Row {
    fn of(requests: &ApiRequests) -> Self {
        let ApiRequests { api, key, advertised_min, min, max, .. } = requests;
        let mut versions = if min == max { format!("{min}") } else { format!("{min}–{max}") };
        if advertised_min != min {
            versions += &format!(", told from {advertised_min}");
        }
        Self { api: api.clone(), key: *key, versions, judges: Judges::new() }
    }

    fn parse(line: &str) -> Self {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let mut cell = || cells.next().unwrap_or_else(|| panic!("{RECORD}: a cell is missing in {line}"));
        let (api, key, versions, judges) = (cell().to_owned(), cell().parse().unwrap(), cell().to_owned(), cell());
        let judge = |text: &str| {
            let mut parts = text.split(" v");
            let name = parts.next().unwrap_or_default().to_owned();
            (name, parts.map(|version| version.parse().unwrap()).collect())
        };
        Self { api, key, versions, judges: judges.split(", ").filter(|text| !text.is_empty()).map(judge).collect() }
    }

    fn print(&self) -> String {
        let judge = |(name, versions): (&String, &Vec<i16>)| {
            versions.iter().fold(name.clone(), |text, version| format!("{text} v{version}"))
        };
        let judges: Vec<String> = self.judges.iter().map(judge).collect();
        format!("| {} | {} | {} | {} |\n", self.api, self.key, self.versions, judges.join(", "))
    }
}

/// The record as it stands: text before the table, rows, text behind it.
struct Record {
    file: File,
    before: String,
    rows: Vec<Row>,
    behind: String,
}

impl Record {
    /// Opens it, for nobody else to read or change at the same time.
    fn open(may_write: bool) -> Self {
        let mut file = File::options().read(true).write(may_write).open(in_repository(RECORD)).unwrap();
        file.lock().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let (before, table) = text.split_once(HEAD).unwrap_or_else(|| panic!("{RECORD} has no table"));
        let end = table.find("\n\n").map_or(table.len(), |end| end + 1);
        let rows = table[..end].lines().map(Row::parse).collect();
        Self { file, before: before.to_owned(), rows, behind: table[end..].to_owned() }
    }

    fn judges_of(&self, api: &str) -> Judges {
        self.rows.iter().find(|row| row.api == api).map(|row| row.judges.clone()).unwrap_or_default()
    }

    fn write(mut self, rows: &[Row]) {
        let table: String = rows.iter().map(Row::print).collect();
        self.file.set_len(0).unwrap();
        self.file.rewind().unwrap();
        write!(self.file, "{}{HEAD}{table}{}", self.before, self.behind).unwrap();
    }
}

fn may_write() -> bool {
    std::env::var_os("LUMENBUS_RECORD").is_some_and(|value| value == "1")
}

/// Holds what a broker was asked for by a judge to the record.
///
/// # Panics
/// When the record is another.
pub fn hold_to(judge: &str, requests: &[ApiRequests]) {
    let record = Record::open(may_write());
    let mut rows: Vec<Row> = requests.iter().map(|api| expected_row(judge, api, record.judges_of(&api.api))).collect();
    rows.sort_by_key(|row| row.key);
    if may_write() {
        return record.write(&rows);
    }
    let lines = |rows: &[Row]| rows.iter().map(Row::print).collect::<String>();
    let (is, should) = (lines(&record.rows), lines(&rows));
    assert!(is == should, "{RECORD} says\n{is}\nand this is so:\n{should}\nrun with LUMENBUS_RECORD=1 to mend it");
}

/// Holds the APIs and versions in the record to those that a broker speaks.
///
/// # Panics
/// When the record is another.
pub fn hold_versions(requests: &[ApiRequests]) {
    let mut none = requests.to_vec();
    none.iter_mut().for_each(|api| api.requests.clear());
    hold_to("", &none);
}

/// The APIs that no judge of the record asks for.
pub fn unjudged() -> Vec<String> {
    let rows = Record::open(false).rows;
    rows.into_iter().filter(|row| row.judges.is_empty()).map(|row| row.api).collect()
}

fn expected_row(judge: &str, api: &ApiRequests, recorded: Judges) -> Row {
    let mut row = Row { judges: recorded, ..Row::of(api) };
    let mut used: Vec<i16> = api.used_versions().collect();
    if OF_THE_SYSTEM.contains(&judge) {
        if !used.is_empty() {
            row.judges.insert(judge.to_owned(), Vec::new());
        }
        return row;
    }
    if !may_write() {
        // What a run need not ask for, because of its timing, stays; only what is new is told.
        let known = row.judges.get(judge);
        if known.is_none() && TIMED.contains(&api.api.as_str()) {
            return row;
        }
        used.extend(known.into_iter().flatten());
        used.sort_unstable();
        used.dedup();
    }
    if used.is_empty() {
        row.judges.remove(judge);
    } else {
        row.judges.insert(judge.to_owned(), used);
    }
    row
}
