//! Keys of groups.

use ilmenite_error::Result;
use ilmenite_types::Datum;

use crate::context::EvalContext;
use crate::kernel::compare::Comparer;
use crate::value::{self, json};

/// Appends bytes that are equal for values that compare as equal under `comparer`: for grouping, DISTINCT and hash joins.
pub fn append_group_key(
    value: &Datum,
    comparer: &Comparer,
    ctx: &EvalContext,
    out: &mut Vec<u8>,
) -> Result<()> {
    if *value == Datum::Null {
        out.push(0);
        return Ok(());
    }
    out.push(1);
    match comparer {
        Comparer::Int => {
            let n = value::to_i128(value, ctx)?;
            out.push(u8::from(n < 0));
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
        Comparer::Real => {
            // -0 equals 0.
            let n = value::to_f64(value, ctx)? + 0.0;
            out.extend_from_slice(&n.to_bits().to_be_bytes());
        }
        Comparer::Decimal => {
            let text = value::to_decimal(value, ctx)?.normalized().to_string();
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        Comparer::Bytes(collation) => {
            let text = value::to_text(value);
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            if collation.is_bin() {
                out.extend_from_slice(collation.trimmed(&text));
            } else {
                collation.sort_key(&text, out);
            }
            // The length first, so that no two lists of strings run together.
            let len = (out.len() - start - 4) as u32;
            out[start..start + 4].copy_from_slice(&len.to_be_bytes());
        }
        Comparer::Time => {
            let packed = value::to_time(value, ctx)?.map_or(0, |t| t.to_packed());
            out.extend_from_slice(&packed.to_be_bytes());
        }
        Comparer::Duration => {
            let micros = value::to_duration(value, ctx)?.map_or(0, |d| d.micros());
            out.extend_from_slice(&micros.to_be_bytes());
        }
        Comparer::Json => {
            let text = json::from_datum(value)?.to_string();
            out.extend_from_slice(&(text.len() as u32).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
    Ok(())
}
