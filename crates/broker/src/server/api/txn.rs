//! How the requests of transactional producers are laid out.

use super::{I8, I16, I32, I64};
use crate::server::shape::{Field, Kind, always, since};

pub(super) const INIT_PRODUCER_ID: &[Field] = &[always(Kind::Str), always(I32), since(3, I64), since(3, I16)];

pub(super) const ADD_PARTITIONS: &[Field] = &[
    always(Kind::Str),
    always(I64),
    always(I16),
    always(Kind::Array(&[always(Kind::Str), always(Kind::FixedArray(4))])),
];

pub(super) const ADD_OFFSETS: &[Field] = &[always(Kind::Str), always(I64), always(I16), always(Kind::Str)];

pub(super) const END: &[Field] = &[always(Kind::Str), always(I64), always(I16), always(I8)];

pub(super) const OFFSET_COMMIT: &[Field] = &[
    always(Kind::Str),
    always(Kind::Str),
    always(I64),
    always(I16),
    since(3, I32),
    since(3, Kind::Str),
    since(3, Kind::Str),
    always(Kind::Array(&[
        always(Kind::Str),
        always(Kind::Array(&[always(I32), always(I64), since(2, I32), always(Kind::Str)])),
    ])),
];

pub(super) const DESCRIBE: &[Field] = &[always(Kind::StrArray)];

pub(super) const LIST: &[Field] = &[always(Kind::StrArray), always(Kind::FixedArray(8)), since(1, I64)];
