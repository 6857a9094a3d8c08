//! The live table of cameras: text from a snapshot, and drawing it over itself.
//!
//! Making the text is pure ([`Table::lines`], [`Table::sentence`]); [`Screen`] owns the terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Between two drawings on a terminal.
const DRAW_INTERVAL: Duration = Duration::from_millis(500);
/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// When the terminal does not say.
const USUAL_WIDTH: usize = 80;
/// From here on there is room for sizes and totals.
const WIDE: usize = 104;

/// How a camera is doing; decides the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    /// Nothing to say.
    #[default]
    Good,
    /// Wait and see.
    Pending,
    /// Look here.
    Bad,
}

/// One camera's line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) camera: String,
    pub(crate) codec: String,
    /// `1280x720`
    pub(crate) size: String,
    pub(crate) fps: f64,
    pub(crate) mbit: f64,
    /// Median and 99th percentile of capture → received, in milliseconds; `None` before the first frame.
    pub(crate) age_ms: Option<(f64, f64)>,
    /// The same of capture → shown on a screen; `None` while nobody looks.
    pub(crate) shown_ms: Option<(f64, f64)>,
    /// Frames received since the beginning.
    pub(crate) frames: u64,
    /// Frames missing, by reason.
    pub(crate) missing: Vec<(&'static str, u64)>,
    /// Gaps whose length nobody knows.
    pub(crate) open_gaps: u64,
    pub(crate) state: String,
    pub(crate) mood: Mood,
}

/// What is shown at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    /// Above the cameras, such as addresses.
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// Below the cameras, such as sums.
    pub(crate) foot: Vec<String>,
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    Colour,
}

struct Column {
    title: &'static str,
    width: usize,
    is_number: bool,
    text: fn(&Row) -> String,
}

const fn words(title: &'static str, width: usize, text: fn(&Row) -> String) -> Column {
    Column { title, width, is_number: false, text }
}

const fn number(title: &'static str, width: usize, text: fn(&Row) -> String) -> Column {
    Column { title, width, is_number: true, text }
}

const CAMERA: Column = words("CAMERA", 12, |row| row.camera.clone());
const CODEC: Column = words("CODEC", 5, |row| row.codec.clone());
const SIZE: Column = words("SIZE", 9, |row| row.size.clone());
const FPS: Column = number("FPS", 5, |row| format!("{:.1}", row.fps));
const MBIT: Column = number("MBIT/S", 6, |row| format!("{:.2}", row.mbit));
const AGE: Column = number("AGE 50/99", 9, |row| pair(row.age_ms));
const SHOWN: Column = number("SHOWN ms", 9, |row| pair(row.shown_ms));
const FRAMES: Column = number("FRAMES", 8, |row| row.frames.to_string());
const STATE: Column = words("STATE", 10, |row| row.state.clone());
/// Takes what is left of the line.
const GAPS: &str = "GAPS";

const NARROW_COLUMNS: &[Column] = &[CAMERA, CODEC, FPS, MBIT, AGE, SHOWN, STATE];
const WIDE_COLUMNS: &[Column] = &[CAMERA, CODEC, SIZE, FPS, MBIT, AGE, SHOWN, FRAMES, STATE];

impl Table {
    /// The lines, none wider than `width` characters (colours not counted).
    pub(crate) fn lines(&self, width: usize, ink: Ink) -> Vec<String> {
        let columns = if width >= WIDE { WIDE_COLUMNS } else { NARROW_COLUMNS };
        let left = width.saturating_sub(columns.iter().map(|column| column.width + 1).sum());
        let mut lines: Vec<String> = self.head.iter().map(|line| clipped(line, width)).collect();
        let titles: Vec<String> = columns.iter().map(|column| padded(column, column.title)).collect();
        lines.push(clipped(&format!("{} {GAPS}", titles.join(" ")), width));
        for row in &self.rows {
            let cells = columns.iter().map(|column| {
                let cell = padded(column, &(column.text)(row));
                if column.title == STATE.title { coloured(&cell, row.mood, ink) } else { cell }
            });
            let line = format!("{} {}", Vec::from_iter(cells).join(" "), clipped(&row.gaps(), left));
            lines.push(line.trim_end().to_owned());
        }
        lines.extend(self.foot.iter().map(|line| clipped(line, width)));
        lines
    }

    /// The same in one line, for a log.
    pub(crate) fn sentence(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let age = row.age_ms.map_or_else(String::new, |(p50, p99)| format!(", age {p50:.0}/{p99:.0} ms"));
            let gaps = row.gaps();
            let gaps = if gaps == NO_GAPS { String::new() } else { format!(", missing {gaps}") };
            format!("{} {}: {:.1} fps, {:.2} Mbit/s{age}{gaps}", row.camera, row.state, row.fps, row.mbit)
        });
        rows.collect::<Vec<_>>().join("; ")
    }
}

const NO_GAPS: &str = "-";

impl Row {
    /// `overflow 3, lagging 20`
    fn gaps(&self) -> String {
        let known = self.missing.iter().map(|(reason, frames)| format!("{reason} {frames}"));
        let open = (self.open_gaps > 0).then(|| format!("open-ended {}", self.open_gaps));
        let gaps: Vec<String> = known.chain(open).collect();
        if gaps.is_empty() { NO_GAPS.to_owned() } else { gaps.join(", ") }
    }
}

/// Median and 99th percentile, `2.1/5.0`.
fn pair(millis: Option<(f64, f64)>) -> String {
    millis.map_or_else(|| NO_GAPS.to_owned(), |(p50, p99)| format!("{}/{}", short(p50), short(p99)))
}

/// In at most four characters: whole milliseconds where tenths say nothing, then seconds.
fn short(millis: f64) -> String {
    match millis {
        millis if millis < 9.95 => format!("{millis:.1}"),
        millis if millis < 9_999.5 => format!("{millis:.0}"),
        millis => format!("{:.0}s", (millis / 1e3).min(999.0)),
    }
}

fn padded(column: &Column, text: &str) -> String {
    let (text, width) = (clipped(text, column.width), column.width);
    if column.is_number { format!("{text:>width$}") } else { format!("{text:<width$}") }
}

/// At most `width` characters; what is left out is marked.
fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some('…')).collect()
}

fn coloured(text: &str, mood: Mood, ink: Ink) -> String {
    let code = match (ink, mood) {
        (Ink::Plain, _) => return text.to_owned(),
        (Ink::Colour, Mood::Good) => 32,
        (Ink::Colour, Mood::Pending) => 33,
        (Ink::Colour, Mood::Bad) => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Shows tables on standard error: drawn over one another on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Screen {
    kind: Kind,
    drawn_lines: usize,
    last: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing is shown.
    Silent,
    Terminal(Ink),
    Lines,
}

impl Screen {
    /// As standard error and the environment are; silent where nobody wants it.
    pub(crate) fn new(is_silent: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let kind = match () {
            () if is_silent => Kind::Silent,
            () if is_terminal => Kind::Terminal(if is_plain { Ink::Plain } else { Ink::Colour }),
            () => Kind::Lines,
        };
        Self { kind, drawn_lines: 0, last: None }
    }

    /// Shows what `table` makes, when it is time.
    pub(crate) fn show(&mut self, table: impl FnOnce() -> Table) {
        let interval = match self.kind {
            Kind::Silent => return,
            Kind::Terminal(_) => DRAW_INTERVAL,
            Kind::Lines => LINE_INTERVAL,
        };
        if self.last.is_some_and(|last| last.elapsed() < interval) {
            return;
        }
        // The first line comes after the first interval: there is nothing to tell before.
        let is_first = self.last.replace(Instant::now()).is_none();
        match self.kind {
            Kind::Terminal(ink) => self.draw(&table().lines(width(), ink)),
            Kind::Lines if !is_first => self.write(&format!("{}\n", table().sentence())),
            Kind::Lines | Kind::Silent => {}
        }
    }

    /// The last state, whenever it comes: a short run has no line before.
    pub(crate) fn finish(&mut self, table: impl FnOnce() -> Table) {
        self.clear();
        if self.kind == Kind::Lines {
            self.write(&format!("{}\n", table().sentence()));
        }
    }

    /// Takes the table away, so that other text can be written; the next one is drawn at once.
    pub(crate) fn clear(&mut self) {
        if self.drawn_lines > 0 {
            let up = std::mem::take(&mut self.drawn_lines);
            self.write(&format!("\x1b[{up}A\r\x1b[J"));
            self.last = None;
        }
    }

    fn draw(&mut self, lines: &[String]) {
        let mut text = String::new();
        if self.drawn_lines > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.drawn_lines));
        }
        for line in lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.drawn_lines = lines.len();
        self.write(&text);
    }

    #[expect(clippy::unused_self, reason = "whoever writes owns the screen")]
    fn write(&mut self, text: &str) {
        // Nobody is left to tell when standard error is closed.
        drop(std::io::stderr().write_all(text.as_bytes()));
    }
}

fn width() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(USUAL_WIDTH, |(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let flower = Row {
            camera: "flower".to_owned(),
            codec: "h264".to_owned(),
            size: "1280x720".to_owned(),
            fps: 29.97,
            mbit: 1.712,
            age_ms: Some((2.13, 5.04)),
            shown_ms: Some((31.4, 58.0)),
            frames: 360,
            state: "live".to_owned(),
            ..Row::default()
        };
        let plaza = Row {
            camera: "plaza-jpeg".to_owned(),
            codec: "jpeg".to_owned(),
            size: "768x576".to_owned(),
            fps: 10.0,
            mbit: 8.71,
            age_ms: Some((14.2, 23_456.0)),
            frames: 120,
            missing: vec![("overflow", 12), ("source-lost", 345)],
            state: "offline".to_owned(),
            mood: Mood::Bad,
            ..Row::default()
        };
        let new = Row {
            camera: "a-camera-with-a-long-name".to_owned(),
            state: "connecting".to_owned(),
            mood: Mood::Pending,
            open_gaps: 1,
            ..Row::default()
        };
        Table {
            head: vec!["lumenbus demo · http://127.0.0.1:8980/ · broker 127.0.0.1:19092".to_owned()],
            rows: vec![flower, plaza, new],
            foot: vec!["480 frames, 357 missing and explained, 0 unexplained".to_owned()],
        }
    }

    fn check(width: usize, expected: &[&str]) {
        let lines = table().lines(width, Ink::Plain);
        assert_eq!(lines, expected, "\n{}", lines.join("\n"));
        for line in &lines {
            assert!(line.chars().count() <= width, "{line}");
        }
    }

    #[test]
    fn eighty_columns() {
        check(
            80,
            &[
                "lumenbus demo · http://127.0.0.1:8980/ · broker 127.0.0.1:19092",
                "CAMERA       CODEC   FPS MBIT/S AGE 50/99  SHOWN ms STATE      GAPS",
                "flower       h264   30.0   1.71   2.1/5.0     31/58 live       -",
                "plaza-jpeg   jpeg   10.0   8.71    14/23s         - offline    overflow 12, sou…",
                "a-camera-wi…         0.0   0.00         -         - connecting open-ended 1",
                "480 frames, 357 missing and explained, 0 unexplained",
            ],
        );
    }

    #[test]
    fn more_room_shows_more() {
        check(
            110,
            &[
                "lumenbus demo · http://127.0.0.1:8980/ · broker 127.0.0.1:19092",
                "CAMERA       CODEC SIZE        FPS MBIT/S AGE 50/99  SHOWN ms   FRAMES STATE      GAPS",
                "flower       h264  1280x720   30.0   1.71   2.1/5.0     31/58      360 live       -",
                "plaza-jpeg   jpeg  768x576    10.0   8.71    14/23s         -      120 offline    overflow 12, source-lost 345",
                "a-camera-wi…                   0.0   0.00         -         -        0 connecting open-ended 1",
                "480 frames, 357 missing and explained, 0 unexplained",
            ],
        );
    }

    #[test]
    fn a_line_for_a_log() {
        assert_eq!(
            table().sentence(),
            "flower live: 30.0 fps, 1.71 Mbit/s, age 2/5 ms; \
             plaza-jpeg offline: 10.0 fps, 8.71 Mbit/s, age 14/23456 ms, missing overflow 12, source-lost 345; \
             a-camera-with-a-long-name connecting: 0.0 fps, 0.00 Mbit/s, missing open-ended 1"
        );
    }

    #[test]
    fn colour_is_only_added() {
        let strip = |line: &String| {
            ["\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"]
                .iter()
                .fold(line.clone(), |line, code| line.replace(code, ""))
        };
        let coloured = table().lines(80, Ink::Colour);
        assert!(coloured[2].contains("\x1b[32mlive"), "{coloured:?}");
        assert!(coloured[3].contains("\x1b[31moffline"), "{coloured:?}");
        let plain: Vec<String> = coloured.iter().map(|line| strip(line).trim_end().to_owned()).collect();
        assert_eq!(plain, table().lines(80, Ink::Plain));
    }

    #[test]
    fn a_narrow_terminal_is_no_panic() {
        for width in 0..60 {
            table().lines(width, Ink::Plain);
        }
    }
}
