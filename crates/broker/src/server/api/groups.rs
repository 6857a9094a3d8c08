//! How the requests of group members and of those who look after groups are laid out.

use super::{I8, I32, I64};
use crate::server::shape::{Field, Kind, always, between, since};

const NAMED_PARTITIONS: &[Field] = &[always(Kind::Str), always(Kind::FixedArray(4))];
const NAMED_BYTES: &[Field] = &[always(Kind::Str), always(Kind::Bytes)];

pub(super) const OFFSET_COMMIT: &[Field] = &[
    always(Kind::Str),
    always(I32),
    always(Kind::Str),
    since(7, Kind::Str),
    between(2, 4, I64),
    always(Kind::Array(&[
        always(Kind::Str),
        always(Kind::Array(&[always(I32), always(I64), since(6, I32), always(Kind::Str)])),
    ])),
];

pub(super) const OFFSET_FETCH: &[Field] = &[
    between(0, 7, Kind::Str),
    between(0, 7, Kind::Array(NAMED_PARTITIONS)),
    since(
        8,
        Kind::Array(&[always(Kind::Str), since(9, Kind::Str), since(9, I32), always(Kind::Array(NAMED_PARTITIONS))]),
    ),
    since(7, I8),
];

pub(super) const OFFSET_DELETE: &[Field] =
    &[always(Kind::Str), always(Kind::Array(&[always(Kind::Str), always(Kind::FixedArray(4))]))];

pub(super) const FIND_COORDINATOR: &[Field] = &[between(0, 3, Kind::Str), since(1, I8), since(4, Kind::StrArray)];

pub(super) const JOIN_GROUP: &[Field] = &[
    always(Kind::Str),
    always(I32),
    since(1, I32),
    always(Kind::Str),
    since(5, Kind::Str),
    always(Kind::Str),
    always(Kind::Array(NAMED_BYTES)),
    since(8, Kind::Str),
];

pub(super) const SYNC_GROUP: &[Field] = &[
    always(Kind::Str),
    always(I32),
    always(Kind::Str),
    since(3, Kind::Str),
    since(5, Kind::Str),
    since(5, Kind::Str),
    always(Kind::Array(NAMED_BYTES)),
];

pub(super) const HEARTBEAT: &[Field] = &[always(Kind::Str), always(I32), always(Kind::Str), since(3, Kind::Str)];

pub(super) const LEAVE_GROUP: &[Field] = &[
    always(Kind::Str),
    between(0, 2, Kind::Str),
    since(3, Kind::Array(&[always(Kind::Str), always(Kind::Str), since(5, Kind::Str)])),
];

pub(super) const DESCRIBE_GROUPS: &[Field] = &[always(Kind::StrArray), since(3, I8)];

pub(super) const LIST_GROUPS: &[Field] = &[since(4, Kind::StrArray), since(5, Kind::StrArray)];

pub(super) const DELETE_GROUPS: &[Field] = &[always(Kind::StrArray)];
