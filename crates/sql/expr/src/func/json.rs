//! JSON functions.

use ilmenite_error::{Error, Result};
use ilmenite_types::{ArrayIndex, Datum, Json, JsonKind, JsonPath, JsonRef, PathLeg};
use serde_json::Value;

use super::args::{arg, int, text};
use super::define::{MANY, Typed, pure, t_bool, t_int, t_json};
use crate::node::{Args, Coercibility, Expr, FuncDef};
use crate::options::BuildOptions;
use crate::types;
use crate::value::{self, json};

pub(super) static FUNCTIONS: &[FuncDef] = &[
    pure("JSON_EXTRACT", 2, MANY, t_json, extract),
    pure("JSON_UNQUOTE", 1, 1, t_text, unquote),
    pure("JSON_QUOTE", 1, 1, t_text, quote),
    pure("JSON_OBJECT", 0, MANY, t_json, object),
    pure("JSON_ARRAY", 0, MANY, t_json, array),
    pure("JSON_VALID", 1, 1, t_bool, valid),
    pure("JSON_TYPE", 1, 1, t_text, type_name),
    pure("JSON_LENGTH", 1, 2, t_int, length),
    pure("JSON_DEPTH", 1, 1, t_int, depth),
    pure("JSON_CONTAINS", 2, 3, t_bool, contains),
    pure("JSON_CONTAINS_PATH", 3, MANY, t_bool, contains_path),
    pure("JSON_KEYS", 1, 2, t_json, keys),
    pure("JSON_SET", 3, MANY, t_json, set),
    pure("JSON_INSERT", 3, MANY, t_json, insert),
    pure("JSON_REPLACE", 3, MANY, t_json, replace),
    pure("JSON_REMOVE", 2, MANY, t_json, remove),
    pure("JSON_ARRAY_APPEND", 3, MANY, t_json, array_append),
    pure("JSON_MERGE_PATCH", 2, MANY, t_json, merge_patch),
    pure("JSON_MERGE_PRESERVE", 2, MANY, t_json, merge_preserve),
];

fn t_text(_: &mut [Expr], _: &BuildOptions) -> Typed {
    let ty = types::string(types::MAX_TEXT, types::DEFAULT_COLLATION);
    Ok((ty, Coercibility::Coercible))
}

/// Argument `at` as a document: JSON as it is, text parsed, anything else 3146.
fn document(a: &Args<'_>, at: usize) -> Result<Option<Json>> {
    let name = a.name();
    match a.by_name(at)? {
        None => Ok(None),
        Some(Datum::Json(j)) => Ok(Some(j)),
        Some(Datum::Bytes(b)) if !a.is_binary(at) => json::parse(&b)
            .map(Some)
            .map_err(|f| Error::invalid_json_text_in_param(at + 1, name, f.detail, f.position)),
        Some(_) => Err(Error::invalid_type_for_json(at + 1, name)),
    }
}

/// Argument `at` as a value to be put into a document: text is a JSON string.
fn element(a: &Args<'_>, at: usize) -> Result<Json> {
    match a.by_name(at)? {
        None => Ok(Json::null()),
        // TRUE and FALSE are integers by now, as everywhere.
        Some(datum) => json::from_datum(&datum),
    }
}

fn path(a: &Args<'_>, at: usize) -> Result<Option<JsonPath>> {
    let Some(text) = a.string(at)? else {
        return Ok(None);
    };
    JsonPath::parse(&text)
        .map(Some)
        .map_err(|_| Error::invalid_json_path(text.chars().count()))
}

/// A path that names one place.
fn plain_path(a: &Args<'_>, at: usize) -> Result<Option<JsonPath>> {
    let parsed = path(a, at)?;
    if parsed.as_ref().is_some_and(JsonPath::is_multiple) {
        return Err(Error::invalid_json_path_wildcard());
    }
    Ok(parsed)
}

fn extract(a: &Args<'_>) -> Result<Datum> {
    let document = arg!(document(a, 0));
    let mut found: Vec<JsonRef<'_>> = Vec::new();
    let mut many = a.len() > 2;
    for at in 1..a.len() {
        let path = arg!(path(a, at));
        many |= path.is_multiple();
        found.extend(document.root().extract(&path));
    }
    Ok(match (&found[..], many) {
        ([], _) => Datum::Null,
        ([one], false) => Datum::Json(one.to_json()),
        (several, _) => Datum::Json(Json::array(several)?),
    })
}

fn unquote(a: &Args<'_>) -> Result<Datum> {
    match arg!(a.by_name(0)) {
        Datum::Json(j) => text(json::unquoted(&j)),
        other => {
            let s = value::to_text(&other);
            // Only what is quoted is unquoted.
            if s.len() < 2 || s.first() != Some(&b'"') || s.last() != Some(&b'"') {
                return text(s);
            }
            let parsed = json::parse(&s)
                .map_err(|f| Error::invalid_json_text_in_param(1, "json_unquote", f.detail, f.position))?;
            text(json::unquoted(&parsed))
        }
    }
}

fn quote(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.string(0));
    text(Json::string(&s).to_string())
}

fn object(a: &Args<'_>) -> Result<Datum> {
    if a.len() % 2 == 1 {
        return Err(Error::wrong_param_count("json_object"));
    }
    let mut keys = Vec::with_capacity(a.len() / 2);
    let mut values = Vec::with_capacity(a.len() / 2);
    for at in (0..a.len()).step_by(2) {
        keys.push(a.string(at)?.ok_or_else(Error::json_null_key)?);
        values.push(element(a, at + 1)?);
    }
    let members: Vec<(&str, JsonRef<'_>)> = keys
        .iter()
        .map(String::as_str)
        .zip(values.iter().map(Json::root))
        .collect();
    Ok(Datum::Json(Json::object(&members)?))
}

fn array(a: &Args<'_>) -> Result<Datum> {
    let values = (0..a.len())
        .map(|at| element(a, at))
        .collect::<Result<Vec<_>>>()?;
    let refs: Vec<JsonRef<'_>> = values.iter().map(Json::root).collect();
    Ok(Datum::Json(Json::array(&refs)?))
}

fn valid(a: &Args<'_>) -> Result<Datum> {
    int(match arg!(a.by_name(0)) {
        Datum::Json(_) => 1,
        Datum::Bytes(b) if !a.is_binary(0) => i64::from(json::parse(&b).is_ok()),
        _ => 0,
    })
}

fn type_name(a: &Args<'_>) -> Result<Datum> {
    text(arg!(document(a, 0)).root().type_name())
}

fn length(a: &Args<'_>) -> Result<Datum> {
    let document = arg!(document(a, 0));
    if a.len() == 1 {
        return int(document.root().len() as i64);
    }
    let path = arg!(plain_path(a, 1));
    Ok(match document.root().extract(&path).first() {
        Some(value) => Datum::Int(value.len() as i64),
        None => Datum::Null,
    })
}

fn depth(a: &Args<'_>) -> Result<Datum> {
    int(arg!(document(a, 0)).root().depth() as i64)
}

fn contains(a: &Args<'_>) -> Result<Datum> {
    let target = arg!(document(a, 0));
    let candidate = arg!(document(a, 1));
    if a.len() == 2 {
        return int(i64::from(holds(&target.root(), &candidate.root())));
    }
    let path = arg!(plain_path(a, 2));
    Ok(match target.root().extract(&path).first() {
        Some(value) => Datum::Int(i64::from(holds(value, &candidate.root()))),
        None => Datum::Null,
    })
}

/// Whether `target` contains `candidate` in the sense of JSON_CONTAINS.
fn holds(target: &JsonRef<'_>, candidate: &JsonRef<'_>) -> bool {
    match (target.kind(), candidate.kind()) {
        (JsonKind::Object, JsonKind::Object) => candidate
            .members()
            .iter()
            .all(|(key, value)| target.member(key).is_some_and(|own| holds(&own, value))),
        (JsonKind::Array, JsonKind::Array) => candidate
            .elements()
            .all(|value| target.elements().any(|own| holds(&own, &value))),
        (JsonKind::Array, _) => target.elements().any(|own| holds(&own, candidate)),
        (JsonKind::Object, _) | (_, JsonKind::Object | JsonKind::Array) => false,
        _ => target.compare(candidate).is_eq(),
    }
}

fn one_or_all(a: &Args<'_>, at: usize) -> Result<Option<bool>> {
    let Some(text) = a.string(at)? else {
        return Ok(None);
    };
    match text.to_ascii_lowercase().as_str() {
        "one" => Ok(Some(false)),
        "all" => Ok(Some(true)),
        _ => Err(Error::json_bad_one_or_all(a.name())),
    }
}

fn contains_path(a: &Args<'_>) -> Result<Datum> {
    let document = arg!(document(a, 0));
    let all = arg!(one_or_all(a, 1));
    for at in 2..a.len() {
        let path = arg!(path(a, at));
        let found = !document.root().extract(&path).is_empty();
        if found != all {
            return int(i64::from(found));
        }
    }
    int(i64::from(all))
}

fn keys(a: &Args<'_>) -> Result<Datum> {
    let document = arg!(document(a, 0));
    let target = if a.len() == 1 {
        Some(document.root())
    } else {
        let path = arg!(plain_path(a, 1));
        document.root().extract(&path).first().copied()
    };
    let Some(target) = target.filter(|t| t.kind() == JsonKind::Object) else {
        return Ok(Datum::Null);
    };
    let names: Vec<Json> = target
        .members()
        .iter()
        .map(|(key, _)| Json::string(key))
        .collect();
    let refs: Vec<JsonRef<'_>> = names.iter().map(Json::root).collect();
    Ok(Datum::Json(Json::array(&refs)?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Set,
    Insert,
    Replace,
}

fn change(a: &Args<'_>, how: Change) -> Result<Datum> {
    if a.len().is_multiple_of(2) {
        return Err(Error::wrong_param_count(a.name()));
    }
    let mut value = arg!(document(a, 0)).to_value();
    for at in (1..a.len()).step_by(2) {
        let path = arg!(plain_path(a, at));
        put(&mut value, path.legs(), element(a, at + 1)?.to_value(), how);
    }
    Ok(Datum::Json(Json::from_value(&value)?))
}

/// Writes `new` where `legs` lead, if what stands there (or not) allows it.
fn put(target: &mut Value, legs: &[PathLeg], new: Value, how: Change) {
    let Some((leg, rest)) = legs.split_first() else {
        if how != Change::Insert {
            *target = new;
        }
        return;
    };
    match leg {
        PathLeg::Member(key) => {
            let Value::Object(members) = target else { return };
            match members.get_mut(key) {
                Some(member) => put(member, rest, new, how),
                None if rest.is_empty() && how != Change::Replace => {
                    members.insert(key.clone(), new);
                }
                None => {}
            }
        }
        PathLeg::Element(index) => {
            // Anything but an array counts as an array of itself.
            let len = target.as_array().map_or(1, Vec::len);
            let Some(at) = index.resolve(len) else {
                if rest.is_empty() && how != Change::Replace && matches!(index, ArrayIndex::FromEnd(_)) {
                    append(target, new, true);
                }
                return;
            };
            match target {
                Value::Array(elements) if at < len => put(&mut elements[at], rest, new, how),
                Value::Array(elements) => {
                    if rest.is_empty() && how != Change::Replace {
                        elements.push(new);
                    }
                }
                other if at == 0 => put(other, rest, new, how),
                other => {
                    if rest.is_empty() && how != Change::Replace {
                        append(other, new, false);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Adds `new` at the end (or the front) of an array; anything else becomes an array of itself first.
fn append(target: &mut Value, new: Value, at_front: bool) {
    if !target.is_array() {
        *target = Value::Array(vec![target.take()]);
    }
    if let Value::Array(elements) = target {
        let at = if at_front { 0 } else { elements.len() };
        elements.insert(at, new);
    }
}

fn set(a: &Args<'_>) -> Result<Datum> {
    change(a, Change::Set)
}

fn insert(a: &Args<'_>) -> Result<Datum> {
    change(a, Change::Insert)
}

fn replace(a: &Args<'_>) -> Result<Datum> {
    change(a, Change::Replace)
}

/// The value at `legs`, to be changed.
fn place<'v>(target: &'v mut Value, legs: &[PathLeg]) -> Option<&'v mut Value> {
    let Some((leg, rest)) = legs.split_first() else {
        return Some(target);
    };
    match (leg, target) {
        (PathLeg::Member(key), Value::Object(members)) => place(members.get_mut(key)?, rest),
        (PathLeg::Element(index), Value::Array(elements)) => {
            let at = index.resolve(elements.len())?;
            place(elements.get_mut(at)?, rest)
        }
        (PathLeg::Element(index), other) if index.resolve(1) == Some(0) => place(other, rest),
        _ => None,
    }
}

fn remove(a: &Args<'_>) -> Result<Datum> {
    let mut value = arg!(document(a, 0)).to_value();
    for at in 1..a.len() {
        let path = arg!(plain_path(a, at));
        let Some((last, parents)) = path.legs().split_last() else {
            return Err(Error::json_path_is_root());
        };
        match (last, place(&mut value, parents)) {
            (PathLeg::Member(key), Some(Value::Object(members))) => {
                members.remove(key);
            }
            (PathLeg::Element(index), Some(Value::Array(elements))) => {
                if let Some(at) = index.resolve(elements.len()).filter(|at| *at < elements.len()) {
                    elements.remove(at);
                }
            }
            _ => {}
        }
    }
    Ok(Datum::Json(Json::from_value(&value)?))
}

fn array_append(a: &Args<'_>) -> Result<Datum> {
    if a.len().is_multiple_of(2) {
        return Err(Error::wrong_param_count("json_array_append"));
    }
    let mut value = arg!(document(a, 0)).to_value();
    for at in (1..a.len()).step_by(2) {
        let path = arg!(plain_path(a, at));
        let new = element(a, at + 1)?.to_value();
        if let Some(target) = place(&mut value, path.legs()) {
            append(target, new, false);
        }
    }
    Ok(Datum::Json(Json::from_value(&value)?))
}

fn merge_patch(a: &Args<'_>) -> Result<Datum> {
    fn patch(target: &mut Value, change: Value) {
        let Value::Object(changes) = change else {
            *target = change;
            return;
        };
        if !target.is_object() {
            *target = Value::Object(serde_json::Map::new());
        }
        if let Value::Object(members) = target {
            for (key, value) in changes {
                if value.is_null() {
                    members.remove(&key);
                } else {
                    patch(members.entry(key).or_insert(Value::Null), value);
                }
            }
        }
    }
    let mut value = arg!(document(a, 0)).to_value();
    for at in 1..a.len() {
        patch(&mut value, arg!(document(a, at)).to_value());
    }
    Ok(Datum::Json(Json::from_value(&value)?))
}

fn merge_preserve(a: &Args<'_>) -> Result<Datum> {
    fn merge(left: Value, right: Value) -> Value {
        match (left, right) {
            (Value::Object(mut l), Value::Object(r)) => {
                for (key, value) in r {
                    let merged = match l.remove(&key) {
                        Some(own) => merge(own, value),
                        None => value,
                    };
                    l.insert(key, merged);
                }
                Value::Object(l)
            }
            (l, r) => {
                let list = |v: Value| match v {
                    Value::Array(elements) => elements,
                    other => vec![other],
                };
                let mut elements = list(l);
                elements.extend(list(r));
                Value::Array(elements)
            }
        }
    }
    let mut value = arg!(document(a, 0)).to_value();
    for at in 1..a.len() {
        value = merge(value, arg!(document(a, at)).to_value());
    }
    Ok(Datum::Json(Json::from_value(&value)?))
}
