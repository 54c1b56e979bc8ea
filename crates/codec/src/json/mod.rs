//! JSON in TiDB's binary form.

use bytes::Bytes;

/// A JSON document: a type byte and its payload, as TiDB stores it.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(Bytes);
