//! The storage format as a whole: golden vectors, round trips, order, and damage.

mod index;
mod row;
mod text;
mod values;
