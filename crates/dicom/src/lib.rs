//! DICOM objects on Kafka: cut without re-encoding, put together again byte for byte, de-identified.
//!
//! An object travels as its *blob* (`dicom_pixels`: the pixel element's value, in chunks of one record each) and one
//! *metadata record* (`dicom_metadata`: every other byte, and the proof of all of them). The record is written last and
//! is the commit mark. [`cut`] takes objects apart, [`record`] is the record as bytes, [`assemble`] puts objects together
//! and checks them, [`layout`] names files. None of these does I/O, reads a clock or starts a thread.
//!
//! ```
//! use lumenbus_dicom::assemble::Assembly;
//! use lumenbus_dicom::cut::{Input, Splitter, SplitLimits};
//! use lumenbus_dicom::record::{Metadata, ObjectId};
//!
//! let file = b"not DICOM, and still nothing of it may change".to_vec();
//! let mut chunks = Vec::new();
//! let mut splitter = Splitter::new(ObjectId::from_bytes([7; 16]), Input::File, SplitLimits::default());
//! let mut keep = |chunk| -> Result<(), std::convert::Infallible> { chunks.push(chunk); Ok(()) };
//! splitter.push(&file, &mut keep)?;
//! let mut metadata = splitter.finish(&mut keep)?;
//! // Kafka says where the chunks went.
//! metadata.set_offsets(&[42]).expect("one offset for one chunk");
//!
//! let metadata = Metadata::decode(&metadata.encode()?)?;
//! let mut assembly = Assembly::begin(&metadata, Vec::new())?;
//! for chunk in &chunks {
//!     assembly.push(&chunk.header(metadata.object_id), &chunk.bytes)?;
//! }
//! assert_eq!(assembly.finish()?, file);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod assemble;
pub mod attributes;
pub mod catalogue;
mod charset;
pub mod cut;
pub mod deid;
pub mod described;
pub mod element;
mod error;
pub mod gateway;
pub mod layout;
pub mod picture;
pub mod record;
pub mod syntax;
#[cfg(feature = "kafka")]
pub mod transport;

pub use error::DicomError;
