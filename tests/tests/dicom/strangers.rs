//! A client of others makes files of the records with what the reference says, and reads metadata alone.

use crate::site::{Dicom, contents, objects};
use lumenbus_tests::backend::Kind;
use lumenbus_tests::cli::Background;
use lumenbus_tests::python::{in_repository, python};
use std::process::Command;

#[test]
fn a_python_client_makes_the_files_again_with_the_reference_alone() {
    let Some(python) = python() else { return };
    let Some(data) = objects() else { return };
    let Some(dicom) = Dicom::together(Kind::Embedded) else { return };
    drop(dicom.send(&[&data]).code(0));
    let mut command = Command::new(python);
    command.arg("-u").arg(in_repository("tests/python/dicom_objects.py"));
    command.args([&dicom.site.bus.brokers, dicom.site.bus.topic_prefix.as_str()]);
    command.arg(in_repository("docs/reference/dicom-records.md"));
    // The reference opens the schema by its name.
    command.current_dir(in_repository("crates/dicom/schema"));
    let ran = Background::start(command).finish().code(0);
    let mut made: Vec<_> = ran.stdout.lines().map(str::to_owned).collect();
    made.sort();
    assert_eq!(made, contents(&data), "{}", ran.stderr);
}
