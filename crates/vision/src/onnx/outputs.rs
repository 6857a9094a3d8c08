//! What the numbers that a model gives mean: by the names of its outputs, and by their shapes.

use super::engine::{Output, name_outputs};
use super::error::ModelError;
use super::letterbox::PictureForm;
use super::suppress::Candidate;

/// More than this in one picture is no detector's answer: YOLO at 1280 has 102,000.
const MAX_ROWS: usize = 1 << 18;
/// Most that an end-to-end model reports; one with more rows of six is a YOLO of one class.
const MAX_LISTED: usize = 1000;
/// A score above 1 by rounding is still one.
const SCORES: std::ops::RangeInclusive<f32> = -0.01..=1.01;
/// Parts of a picture are about 0 to 1, pixels more.
const MAX_PART: f32 = 2.0;

/// What is known of the model besides its outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hints {
    /// The picture that the boxes are in.
    pub(super) form: PictureForm,
    /// How many classes there are, when labels say so.
    pub(super) classes: Option<usize>,
    /// Whether the first label stands for nothing.
    pub(super) has_background_label: bool,
}

/// Where things are in the outputs.
#[derive(Debug, PartialEq)]
enum Layout<'a> {
    /// YOLO: centre, size, perhaps that of being anything, and classes, of each candidate.
    Yolo { table: Table<'a>, has_objectness: bool, classes: usize },
    /// Corners, score and class of each detection.
    EndToEnd(Table<'a>),
    /// Corners and the scores of all classes for each anchor.
    Anchors { boxes: Table<'a>, scores: Table<'a> },
    /// Corners, score and class, each in an output of its own; the first `count` hold.
    Listed { boxes: Table<'a>, scores: &'a [f32], classes: &'a [f32], count: usize, is_row_first: bool },
}

/// Rows of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Table<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    /// Whether a column's numbers lie together.
    is_transposed: bool,
}

impl<'a> Table<'a> {
    /// Of `[1, rows, columns]` or `[rows, columns]`.
    fn of(output: &'a Output) -> Option<Self> {
        let ([1, rows, columns] | [rows, columns]) = *output.shape else { return None };
        let is_whole = rows.checked_mul(columns)? == output.data.len();
        is_whole.then_some(Self { data: &output.data, rows, columns, is_transposed: false })
    }

    fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, is_transposed: !self.is_transposed, ..self }
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        match self.is_transposed {
            true => self.data[column * self.rows + row],
            false => self.data[row * self.columns + column],
        }
    }

    fn four(&self, row: usize) -> [f32; 4] {
        [0, 1, 2, 3].map(|column| self.at(row, column))
    }
}

/// What may be in the picture, in pixels of the model's, with at least this score; and whether boxes may overlap.
pub(super) fn candidates(
    outputs: &[Output],
    hints: &Hints,
    least_score: f32,
) -> Result<(Vec<Candidate>, bool), ModelError> {
    let layout = layout(outputs, hints).ok_or_else(|| ModelError::Output { found: name_outputs(outputs) })?;
    let mut collect = Collector { least_score, found: Vec::new() };
    let may_overlap = matches!(layout, Layout::Yolo { .. } | Layout::Anchors { .. });
    match layout {
        Layout::Yolo { table, has_objectness, classes } => collect.yolo(&table, has_objectness, classes)?,
        Layout::EndToEnd(table) => {
            for row in 0..table.rows {
                collect.add(table.at(row, 5), table.at(row, 4), || table.four(row))?;
            }
        }
        Layout::Anchors { boxes, scores } => collect.anchors(&boxes, &scores, hints)?,
        Layout::Listed { boxes, scores, classes, count, is_row_first } => {
            let scale = if is_row_first { Some(side_lengths(&hints.form)) } else { parts(&boxes, &hints.form) };
            for row in 0..count {
                collect.add(classes[row], scores[row], || {
                    let [a, b, c, d] = boxes.four(row);
                    scaled(if is_row_first { [b, a, d, c] } else { [a, b, c, d] }, scale)
                })?;
            }
        }
    }
    Ok((collect.found, may_overlap))
}

struct Collector {
    least_score: f32,
    found: Vec<Candidate>,
}

impl Collector {
    /// A number that is none is no detection.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a class is a small whole number")]
    fn add(&mut self, class: f32, score: f32, corners: impl FnOnce() -> [f32; 4]) -> Result<(), ModelError> {
        if score.is_finite() && !SCORES.contains(&score) {
            return Err(ModelError::Score { score });
        }
        if score >= self.least_score && class >= 0.0 && class.is_finite() {
            self.found.push(Candidate { class: class as usize, score: score.min(1.0), corners: corners() });
        }
        Ok(())
    }

    fn yolo(&mut self, table: &Table<'_>, has_objectness: bool, classes: usize) -> Result<(), ModelError> {
        let first = if has_objectness { 5 } else { 4 };
        for row in 0..table.rows {
            let objectness = if has_objectness { table.at(row, 4) } else { 1.0 };
            let (class, score) = best_class(table, row, first..first + classes);
            self.add(class, objectness * score, || {
                let [x, y, width, height] = table.four(row);
                [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
            })?;
        }
        Ok(())
    }

    fn anchors(&mut self, boxes: &Table<'_>, scores: &Table<'_>, hints: &Hints) -> Result<(), ModelError> {
        let scale = parts(boxes, &hints.form);
        // The labels may leave the background out, name it, or not exist: SSD has it first.
        let is_named = hints.classes == Some(scores.columns);
        let skipped = usize::from(scores.columns > 1 && (!is_named || hints.has_background_label));
        let first_label = if hints.classes.is_some_and(|count| count + 1 == scores.columns) { skipped } else { 0 };
        for row in 0..boxes.rows {
            let (class, score) = best_class(scores, row, skipped..scores.columns);
            #[expect(clippy::cast_precision_loss, reason = "0 or 1")]
            let class = class + (skipped - first_label) as f32;
            self.add(class, score, || scaled(boxes.four(row), scale))?;
        }
        Ok(())
    }
}

/// The class with the highest score, counted from the range's beginning.
#[expect(clippy::cast_precision_loss, reason = "classes are few")]
fn best_class(table: &Table<'_>, row: usize, columns: std::ops::Range<usize>) -> (f32, f32) {
    let scores = columns.map(|column| table.at(row, column)).enumerate();
    let best = scores.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f32::NAN));
    (best.0 as f32, best.1)
}

#[expect(clippy::cast_precision_loss, reason = "sides of pictures are exact")]
fn side_lengths(form: &PictureForm) -> [f32; 2] {
    [form.width as f32, form.height as f32]
}

/// What boxes have to be multiplied with: nothing, when they are in pixels.
fn parts(boxes: &Table<'_>, form: &PictureForm) -> Option<[f32; 2]> {
    let is_pixels = boxes.data.iter().any(|number| number.abs() > MAX_PART);
    (!is_pixels).then(|| side_lengths(form))
}

fn scaled([left, top, right, bottom]: [f32; 4], scale: Option<[f32; 2]>) -> [f32; 4] {
    let [x, y] = scale.unwrap_or([1.0, 1.0]);
    [left * x, top * y, right * x, bottom * y]
}

fn layout<'a>(outputs: &'a [Output], hints: &Hints) -> Option<Layout<'a>> {
    let layout = listed(outputs).or_else(|| anchors(outputs)).or_else(|| {
        let output = outputs.iter().find(|output| matches!(*output.shape, [1, _, _]))?;
        yolo(Table::of(output)?, hints)
    })?;
    let rows = match &layout {
        Layout::Yolo { table, .. } | Layout::EndToEnd(table) => table.rows,
        Layout::Anchors { boxes, .. } | Layout::Listed { boxes, .. } => boxes.rows,
    };
    (rows <= MAX_ROWS).then_some(layout)
}

/// One number for each of `rows` detections.
fn column(output: &Output, rows: usize) -> Option<&[f32]> {
    let is_column = matches!(*output.shape, [count] | [1, count] if count == rows);
    is_column.then_some(&output.data[..])
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, cut to the rows that there are")]
fn listed(outputs: &[Output]) -> Option<Layout<'_>> {
    let named = |words: &[&str]| {
        let is_named = |output: &&Output| {
            let name = output.name.to_ascii_lowercase();
            words.iter().any(|word| name.contains(word))
        };
        outputs.iter().find(is_named)
    };
    let has_corners = |output: &&Output| output.shape.last() == Some(&4) && Table::of(output).is_some();
    let boxes_output = outputs.iter().find(has_corners)?;
    let boxes = Table::of(boxes_output)?;
    let others = || outputs.iter().filter(|output| !std::ptr::eq(*output, boxes_output));
    let classes = named(&["class", "label"]).or_else(|| others().find(|output| output.is_integer))?;
    let is_score = |output: &&Output| !output.is_integer && !std::ptr::eq(*output, classes);
    let scores = named(&["score", "conf"]).or_else(|| others().find(is_score))?;
    let count = named(&["num_detections"]).and_then(|output| output.data.first());
    let count = count.map_or(boxes.rows, |count| (*count as usize).min(boxes.rows));
    Some(Layout::Listed {
        boxes,
        scores: column(scores, boxes.rows)?,
        classes: column(classes, boxes.rows)?,
        count,
        // TensorFlow's models.
        is_row_first: boxes_output.name.contains("detection_boxes"),
    })
}

fn anchors(outputs: &[Output]) -> Option<Layout<'_>> {
    let [first, second] = outputs else { return None };
    let is_boxes = |output: &Output| ["box", "loc"].iter().any(|word| output.name.to_ascii_lowercase().contains(word));
    let (one, other) = (Table::of(first)?, Table::of(second)?);
    let (boxes, scores) = match (one.columns, other.columns) {
        (4, 4) if is_boxes(second) => (other, one),
        (4, _) => (one, other),
        (_, 4) => (other, one),
        _ => return None,
    };
    (boxes.rows == scores.rows && scores.columns > 0).then_some(Layout::Anchors { boxes, scores })
}

/// Candidates of a YOLO with this input, by the number of anchors in each place.
fn yolo_rows(form: &PictureForm, anchors: usize, strides: &[usize]) -> usize {
    strides.iter().map(|stride| anchors * (form.height / stride) * (form.width / stride)).sum()
}

fn yolo<'a>(table: Table<'a>, hints: &Hints) -> Option<Layout<'a>> {
    let (rows, columns) = (table.rows, table.columns);
    let has_anchors = [&[8, 16, 32][..], &[8, 16, 32, 64]].iter().any(|at| yolo_rows(&hints.form, 3, at) == rows);
    if columns == 6 && rows <= MAX_LISTED && !has_anchors {
        return Some(Layout::EndToEnd(table));
    }
    // Four numbers for a box, more for its classes, and more boxes than that.
    let is_transposed = match hints.classes {
        Some(count) if [count + 4, count + 5].contains(&columns) => false,
        Some(count) if [count + 4, count + 5].contains(&rows) => true,
        _ => rows < columns,
    };
    let table = if is_transposed { table.transposed() } else { table };
    let has_objectness = match hints.classes {
        Some(count) if table.columns == count + 4 => false,
        Some(count) if table.columns == count + 5 => true,
        _ => !is_transposed,
    };
    let classes = table.columns.checked_sub(if has_objectness { 5 } else { 4 }).filter(|classes| *classes > 0)?;
    // What comes after the classes belongs to masks, points or angles.
    let classes = hints.classes.map_or(classes, |count| count.min(classes));
    Some(Layout::Yolo { table, has_objectness, classes })
}
