//! `lumenbus dicom verify DIR [DIR]`.

use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;
use lumenbus_bus::BusError;
use lumenbus_dicom::layout::Layout;
use lumenbus_dicom::transport::verify::{Difference, Side};
use serde_json::json;
use std::path::{Path, PathBuf};

/// So many differences are told one by one to people.
const MAX_TOLD: usize = 100;

#[derive(Debug, Args)]
#[command(
    after_help = "Files are compared by SHA-256, wherever they are: a received folder has other names than a sent one.\nidentical: both have the content; differing: another content under the same name; missing: only the first has it;\nextra: only the second has it. With one folder, the first side is what the topics hold.\nExit code 3 when anything but identical was found.\n\nExamples:\n  lumenbus dicom verify sent/ received/\n  lumenbus dicom verify received/"
)]
pub(crate) struct VerifyArguments {
    /// The folder that is to be found, and the one in which; one alone is compared with the topics
    #[arg(required = true, num_args = 1..=2, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Names of files, as for `dicom receive`, to tell differing from missing; they may tell of patients
    #[arg(long, value_name = "PATTERN")]
    layout: Option<String>,
}

pub(super) fn run(arguments: &VerifyArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let layout = arguments.layout.as_deref().map(Layout::parse).transpose();
    let layout = layout.map_err(|error| Usage(format!("--layout: {error}")))?;
    let mut passed = 0_u64;
    let mut side = |folder: &Path| {
        Side::of_folder(folder, &mut |over| {
            // Where received files are until they have their names is no part of a folder.
            if over.why.code() != "receiving" {
                passed += 1;
                output.note(&format!("passed over: {}: {}", over.path.display(), over.why));
            }
        })
    };
    let (left, right) = match arguments.folders.as_slice() {
        [left, right] => (side(left)?, side(right)?),
        [right, ..] => {
            let right = side(right)?;
            lumenbus_bus::probe(&settings.bus).map_err(BusError::from)?;
            (Side::of_topics(&settings.bus, layout.as_ref())?, right)
        }
        [] => return Err(Usage("name a folder".to_owned()).into()),
    };
    let found = left.compare(&right);
    let mut counts = [0_u64; 3];
    for (told, difference) in found.differences.iter().enumerate() {
        let (kind, place, path) = match difference {
            Difference::Differing(path) => ("differing", 0, path),
            Difference::Missing(path) => ("missing", 1, path),
            Difference::Extra(path) => ("extra", 2, path),
        };
        counts[place] += 1;
        if told < MAX_TOLD {
            output.result(&format!("{kind}: {}", path.display()));
        }
        output.object("difference", json!({ "kind": kind, "path": path.display().to_string() }));
    }
    let [differing, missing, extra] = counts;
    output.result(&format!("{} identical, {differing} differing, {missing} missing, {extra} extra", found.identical));
    output.summary(
        "dicom verify",
        json!({
            "identical": found.identical, "differing": differing, "missing": missing, "extra": extra,
            "first": left.len(), "second": right.len(), "passed_over": passed,
        }),
    );
    let is_same = found.differences.is_empty() && passed == 0;
    Ok(if is_same { Outcome::Done } else { Outcome::ProblemsFound })
}
