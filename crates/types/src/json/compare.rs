//! Order of JSON values: by type first, then by value, as MySQL has it.

use std::cmp::Ordering;

use super::{JsonKind, JsonRef};
use crate::{Decimal, TimeKind};

/// The later a type, the greater its values.
fn rank(kind: &JsonKind<'_>) -> u8 {
    match kind {
        JsonKind::Null => 0,
        JsonKind::Int(_) | JsonKind::UInt(_) | JsonKind::Double(_) => 1,
        JsonKind::String(_) => 2,
        JsonKind::Object => 3,
        JsonKind::Array => 4,
        JsonKind::Bool(_) => 5,
        JsonKind::Time(time) if time.kind() == TimeKind::Date => 6,
        JsonKind::Duration(_) => 7,
        JsonKind::Time(_) => 8,
        JsonKind::Opaque(16, _) => 10,
        JsonKind::Opaque(249..=252, _) => 11,
        JsonKind::Opaque(..) => 9,
    }
}

impl JsonRef<'_> {
    pub fn compare(&self, other: &JsonRef<'_>) -> Ordering {
        let (a, b) = (self.kind(), other.kind());
        rank(&a).cmp(&rank(&b)).then_with(|| match (a, b) {
            (JsonKind::Bool(a), JsonKind::Bool(b)) => a.cmp(&b),
            (JsonKind::String(a), JsonKind::String(b)) => a.cmp(b),
            (JsonKind::Opaque(x, a), JsonKind::Opaque(y, b)) => a.cmp(b).then(x.cmp(&y)),
            (JsonKind::Time(a), JsonKind::Time(b)) => a.cmp(&b),
            (JsonKind::Duration(a), JsonKind::Duration(b)) => a.cmp(&b),
            (JsonKind::Array, JsonKind::Array) => self.compare_arrays(other),
            (JsonKind::Object, JsonKind::Object) => self.compare_objects(other),
            (a, b) => compare_numbers(&a, &b),
        })
    }

    fn compare_arrays(&self, other: &JsonRef<'_>) -> Ordering {
        for (a, b) in self.elements().zip(other.elements()) {
            let order = a.compare(&b);
            if order != Ordering::Equal {
                return order;
            }
        }
        self.len().cmp(&other.len())
    }

    /// Fewer members first; then by keys and values, which only has to be some order.
    fn compare_objects(&self, other: &JsonRef<'_>) -> Ordering {
        self.len().cmp(&other.len()).then_with(|| {
            for i in 0..self.len() {
                let order = self
                    .key(i)
                    .cmp(other.key(i))
                    .then_with(|| self.value(i).compare(&other.value(i)));
                if order != Ordering::Equal {
                    return order;
                }
            }
            Ordering::Equal
        })
    }
}

fn compare_numbers(a: &JsonKind<'_>, b: &JsonKind<'_>) -> Ordering {
    use JsonKind::{Double, Int, UInt};
    match (*a, *b) {
        (Int(a), Int(b)) => a.cmp(&b),
        (UInt(a), UInt(b)) => a.cmp(&b),
        (Int(a), UInt(b)) => u64::try_from(a).map_or(Ordering::Less, |a| a.cmp(&b)),
        (UInt(a), Int(b)) => u64::try_from(b).map_or(Ordering::Greater, |b| a.cmp(&b)),
        (Double(a), Double(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (Int(a), Double(b)) => integer_and_double(Decimal::from(a), b),
        (UInt(a), Double(b)) => integer_and_double(Decimal::from(a), b),
        (Double(a), Int(b)) => integer_and_double(Decimal::from(b), a).reverse(),
        (Double(a), UInt(b)) => integer_and_double(Decimal::from(b), a).reverse(),
        _ => Ordering::Equal,
    }
}

/// Exactly, where a double would lose an integer's last digits.
fn integer_and_double(integer: Decimal, double: f64) -> Ordering {
    match Decimal::from_f64(double) {
        Ok(decimal) if decimal.scale() < crate::decimal::MAX_SCALE => integer.cmp(&decimal),
        // Too large or too small for a decimal: doubles tell them apart.
        _ => integer.to_f64().partial_cmp(&double).unwrap_or(Ordering::Equal),
    }
}
