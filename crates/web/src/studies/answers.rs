//! What is known, as JSON.

use super::desk::{Frame, Opened, Queues};
use super::{State, Studies, lock};
use lumenbus_dicom::catalogue::{MAX_OBJECTS, Name, ObjectEntry, PatientData, SeriesEntry, StudyEntry};
use lumenbus_dicom::described::{Line, Shown, lines};
use lumenbus_dicom::picture::Image;
use lumenbus_dicom::transport::Family;
use serde_json::{Value, json};

impl Studies {
    pub(super) fn list_json(&self, search: &str, offset: usize, limit: usize) -> Value {
        let catalogue = self.catalogue();
        let all = catalogue.studies(search);
        let page = all.iter().skip(offset).take(limit).map(|(name, study)| study_json(*name, study));
        let (state, reason) = match &*lock(&self.state) {
            State::Absent => ("absent", String::new()),
            State::Reading => ("reading", String::new()),
            State::Ready => ("ready", String::new()),
            State::Away(reason) => ("away", reason.clone()),
        };
        json!({
            "state": state, "reason": reason, "studies": page.collect::<Vec<_>>(), "found": all.len(),
            "objects": catalogue.len(), "max_objects": MAX_OBJECTS, "forgotten": catalogue.forgotten(),
            "unreadable": *lock(&self.unreadable), "is_masked": self.patient_data == PatientData::Masked,
        })
    }

    pub(super) fn study_json(&self, name: Name) -> Option<Value> {
        let catalogue = self.catalogue();
        let study = catalogue.study(name)?;
        let mut answer = study_json(name, study);
        answer["series_list"] = study.series().into_iter().map(|(name, series)| series_json(name, series)).collect();
        Some(answer)
    }

    pub(super) fn series_json(&self, study: Name, series: Name, offset: usize, limit: usize) -> Option<Value> {
        let catalogue = self.catalogue();
        let entry = catalogue.study(study)?.series().into_iter().find(|(name, _)| *name == series)?.1;
        let mut answer = series_json(series, entry);
        let objects = catalogue.objects(study, series).skip(offset).take(limit);
        answer["object_list"] = objects.map(|(name, object)| object_json(name, object)).collect();
        Some(answer)
    }
}

fn study_json(name: Name, study: &StudyEntry) -> Value {
    let patient = study.patient.as_ref().map(|(name, id)| json!({ "name": name, "id": id }));
    json!({
        "key": name.to_string(), "date": study.date, "description": study.description, "modalities": study.modalities(),
        "series": study.series_count(), "objects": study.objects, "bytes": study.bytes,
        "sent_ms": study.newest_unix_millis, "patient": patient,
    })
}

fn series_json(name: Name, series: &SeriesEntry) -> Value {
    json!({
        "key": name.to_string(), "number": series.number, "modality": series.modality, "date": series.date,
        "description": series.description, "objects": series.len(), "bytes": series.bytes,
    })
}

fn object_json(name: Name, object: &ObjectEntry) -> Value {
    json!({
        "key": name.to_string(), "number": object.number, "frames": object.frames, "bytes": object.bytes,
        "sent_ms": object.unix_millis,
    })
}

/// An object's attributes, and what its image is.
pub(super) fn opened_json(opened: &Opened, patient_data: PatientData) -> Value {
    let (lines, is_all) = lines(&opened.metadata.attributes, patient_data);
    let (image, why) = match &opened.image {
        Ok(image) => (Some(image_json(image)), None),
        Err(why) => (None, Some(json!({ "code": why.code(), "message": why.to_string() }))),
    };
    json!({
        "image": image, "no_picture": why, "attributes": lines.iter().map(line_json).collect::<Vec<_>>(),
        "is_all": is_all, "is_masked": patient_data == PatientData::Masked, "bytes": opened.metadata.file_length,
        "transfer_syntax": opened.metadata.transfer_syntax, "findings": opened.metadata.findings,
    })
}

fn image_json(image: &Image) -> Value {
    json!({
        "rows": image.rows, "columns": image.columns, "frames": image.frames, "bits": image.bits(),
        "is_color": image.is_color(), "is_inverted": image.is_inverted(),
    })
}

fn line_json(line: &Line) -> Value {
    let (group, element) = (line.tag.group(), line.tag.0 & 0xFFFF);
    let mut answer =
        json!({ "tag": format!("({group:04X},{element:04X})"), "name": line.name, "vr": line.vr, "depth": line.depth });
    match &line.value {
        Shown::Text(text) => answer["text"] = json!(text),
        Shown::Masked => answer["is_masked"] = json!(true),
        Shown::Bytes(bytes) => answer["bytes"] = json!(bytes),
        Shown::Items(items) => answer["items"] = json!(items),
    }
    answer
}

/// How the samples of a frame are shown; fits into a header.
pub(super) fn frame_json(image: &Image, frame: &Frame) -> Value {
    let ascii =
        |name: &String| name.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').collect::<String>();
    let windows = frame.shown.windows.iter().enumerate().map(|(index, window)| {
        let name = frame.names.get(index).map(ascii).unwrap_or_default();
        json!({ "center": window.center, "width": window.width, "name": name })
    });
    json!({
        "kind": frame.picture.kind.as_str(), "rows": image.rows, "columns": image.columns, "bits": image.bits(),
        "slope": frame.shown.slope, "intercept": frame.shown.intercept, "is_inverted": image.is_inverted(),
        "windows": windows.collect::<Vec<_>>(),
    })
}

/// What destinations lack, as `lumenbus dicom queue list` has it.
pub(super) fn queues_json(queues: &Queues) -> Value {
    let waiting = queues.waiting.iter().map(|waiting| {
        json!({
            "destination": waiting.destination, "is_deidentified": waiting.family == Family::Deidentified,
            "registered_ms": waiting.registered_unix_millis, "has_committed": waiting.has_committed,
            "objects": waiting.objects, "bytes": waiting.bytes, "oldest_ms": waiting.oldest_unix_millis,
            "failed": waiting.failed,
        })
    });
    let failures = queues.failures.iter().map(|failure| {
        json!({
            "destination": failure.destination, "reason": failure.reason, "object": failure.object_id,
            "at_ms": failure.unix_millis, "chunk": failure.chunk,
        })
    });
    json!({
        "destinations": waiting.collect::<Vec<_>>(), "failures": failures.collect::<Vec<_>>(), "failed": queues.failed,
    })
}
