//! Descriptions of message types (`google/protobuf/descriptor.proto`), as MCAP carries them.

use prost::Message as _;

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: i32,
    pub(super) kind: Kind,
}

/// What it holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Int64,
    Int32,
    String,
    Bytes,
    Timestamp,
}

const OPTIONAL: i32 = 1;
const TIMESTAMP_FILE: &str = "google/protobuf/timestamp.proto";
const TIMESTAMP: [Field; 2] =
    [Field { name: "seconds", number: 1, kind: Kind::Int64 }, Field { name: "nanos", number: 2, kind: Kind::Int32 }];

impl Kind {
    /// `FieldDescriptorProto.Type`.
    fn number(self) -> i32 {
        match self {
            Self::Int64 => 3,
            Self::Int32 => 5,
            Self::String => 9,
            Self::Timestamp => 11,
            Self::Bytes => 12,
        }
    }

    fn type_name(self) -> Option<String> {
        matches!(self, Self::Timestamp).then(|| ".google.protobuf.Timestamp".to_owned())
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(string, repeated, tag = "3")]
    dependencies: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    messages: Vec<MessageType>,
    #[prost(string, tag = "12")]
    syntax: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MessageType {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<FieldType>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FieldType {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "3")]
    number: i32,
    #[prost(int32, tag = "4")]
    label: i32,
    #[prost(int32, tag = "5")]
    kind: i32,
    #[prost(string, optional, tag = "6")]
    type_name: Option<String>,
}

/// The `FileDescriptorSet` of `foxglove.NAME` and what it needs.
pub(super) fn descriptor_set(name: &str, fields: &[Field]) -> Vec<u8> {
    let file = |name: &str, package: &str, dependencies: Vec<String>, message| File {
        name: name.to_owned(),
        package: package.to_owned(),
        dependencies,
        messages: vec![message],
        syntax: "proto3".to_owned(),
    };
    let timestamp = file(TIMESTAMP_FILE, "google.protobuf", Vec::new(), message("Timestamp", &TIMESTAMP));
    let own =
        file(&format!("foxglove/{name}.proto"), "foxglove", vec![TIMESTAMP_FILE.to_owned()], message(name, fields));
    FileSet { files: vec![timestamp, own] }.encode_to_vec()
}

fn message(name: &str, fields: &[Field]) -> MessageType {
    let field = |field: &Field| FieldType {
        name: field.name.to_owned(),
        number: field.number,
        label: OPTIONAL,
        kind: field.kind.number(),
        type_name: field.kind.type_name(),
    };
    MessageType { name: name.to_owned(), fields: fields.iter().map(field).collect() }
}
