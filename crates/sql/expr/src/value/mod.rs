//! Values as other kinds of values: the conversions that happen unasked, with their warnings.

pub(crate) mod json;
mod number;
mod text;
mod time;
mod zone;

pub(crate) use number::{bits_of_bytes, double_prefix, exact_number, to_bits, to_i64, truth};
pub use number::{to_decimal, to_f64, to_i128};
pub(crate) use text::{of_text, round_decimal, shown};
pub use text::{text_of, to_text};
pub(crate) use time::{
    TimeConstant, date_flags, duration_of_constant, reading_flags, time_of_constant, to_time_of, today,
};
pub use time::{to_duration, to_time};
pub(crate) use zone::zone_named;
