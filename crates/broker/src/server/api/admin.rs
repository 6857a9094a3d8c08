//! How the requests of administrators are laid out.

use super::{I8, I16, I32, I64};
use crate::server::shape::{Field, Kind, always, between, since};

/// A topic id.
const UUID: Kind = Kind::Fixed(16);
const NAMED_PARTITIONS: &[Field] = &[always(Kind::Str), always(Kind::FixedArray(4))];

pub(super) const CREATE_PARTITIONS: &[Field] = &[
    always(Kind::Array(&[always(Kind::Str), always(I32), always(Kind::Array(&[always(Kind::FixedArray(4))]))])),
    always(I32),
    always(I8),
];

pub(super) const DELETE_RECORDS: &[Field] =
    &[always(Kind::Array(&[always(Kind::Str), always(Kind::Array(&[always(I32), always(I64)]))])), always(I32)];

pub(super) const ALTER_CONFIGS: &[Field] = &[
    always(Kind::Array(&[always(I8), always(Kind::Str), always(Kind::Array(&[always(Kind::Str), always(Kind::Str)]))])),
    always(I8),
];

pub(super) const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    always(Kind::Array(&[
        always(I8),
        always(Kind::Str),
        always(Kind::Array(&[always(Kind::Str), always(I8), always(Kind::Str)])),
    ])),
    always(I8),
];

pub(super) const LIST_CONFIG_RESOURCES: &[Field] = &[since(1, Kind::FixedArray(1))];

pub(super) const DESCRIBE_LOG_DIRS: &[Field] = &[always(Kind::Array(NAMED_PARTITIONS))];

pub(super) const DESCRIBE_PRODUCERS: &[Field] = &[always(Kind::Array(NAMED_PARTITIONS))];

pub(super) const DESCRIBE_TOPIC_PARTITIONS: &[Field] = &[
    always(Kind::Array(&[always(Kind::Str)])),
    always(I32),
    always(Kind::Optional(&[always(Kind::Str), always(I32)])),
];

pub(super) const ELECT_LEADERS: &[Field] = &[since(1, I8), always(Kind::Array(NAMED_PARTITIONS)), always(I32)];

pub(super) const ALTER_REASSIGNMENTS: &[Field] = &[
    always(I32),
    since(1, I8),
    always(Kind::Array(&[always(Kind::Str), always(Kind::Array(&[always(I32), always(Kind::FixedArray(4))]))])),
];

pub(super) const LIST_REASSIGNMENTS: &[Field] = &[always(I32), always(Kind::Array(NAMED_PARTITIONS))];

pub(super) const DESCRIBE_CLIENT_QUOTAS: &[Field] =
    &[always(Kind::Array(&[always(Kind::Str), always(I8), always(Kind::Str)])), always(I8)];

pub(super) const DESCRIBE_ACLS: &[Field] =
    &[always(I8), always(Kind::Str), always(I8), always(Kind::Str), always(Kind::Str), always(I8), always(I8)];

/// An array of what DescribeAcls asks for.
pub(super) const ALTER_ACLS: &[Field] = &[always(Kind::Array(DESCRIBE_ACLS))];

pub(super) const CREATE_TOPICS: &[Field] = &[
    always(Kind::Array(&[
        always(Kind::Str),
        always(I32),
        always(I16),
        always(Kind::Array(&[always(I32), always(Kind::FixedArray(4))])),
        always(Kind::Array(&[always(Kind::Str), always(Kind::Str)])),
    ])),
    always(I32),
    always(I8),
];

pub(super) const DELETE_TOPICS: &[Field] =
    &[since(6, Kind::Array(&[always(Kind::Str), always(UUID)])), between(0, 5, Kind::StrArray), always(I32)];

pub(super) const METADATA: &[Field] =
    &[always(Kind::Array(&[since(10, UUID), always(Kind::Str)])), since(4, I8), between(8, 10, I8), since(8, I8)];

pub(super) const DESCRIBE_CONFIGS: &[Field] =
    &[always(Kind::Array(&[always(I8), always(Kind::Str), always(Kind::StrArray)])), always(I8), since(3, I8)];

pub(super) const DESCRIBE_CLUSTER: &[Field] = &[always(I8), since(1, I8), since(2, I8)];
