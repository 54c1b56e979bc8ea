//! Rows in temporary files, for what does not fit a statement's memory.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;
use ilmenite_types::{Datum, Decimal, Duration, Json, Time, TimeKind};

use crate::result::Row;
use ilmenite_error::{Error, Result};

const BUFFER_BYTES: usize = 256 << 10;

/// Rows being written. The file has no name: it is gone when dropped, whatever happens.
pub(crate) struct SpillWriter {
    file: BufWriter<File>,
    scratch: Vec<u8>,
    rows: u64,
}

/// Rows being read, in the order they were written.
pub(crate) struct SpillReader {
    file: BufReader<File>,
    rows: u64,
    scratch: Vec<u8>,
}

fn io_error(e: std::io::Error) -> Error {
    if matches!(
        e.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    ) {
        return Error::disk_full(e);
    }
    Error::other(
        ilmenite_base::ErrorClass::Permanent,
        format!("temporary file: {e}"),
    )
}

fn damaged() -> Error {
    Error::bug("a temporary file does not hold what was written to it")
}

impl SpillWriter {
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(dir).map_err(io_error)?;
        Ok(SpillWriter {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            scratch: Vec::new(),
            rows: 0,
        })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn write(&mut self, row: &[Datum]) -> Result<()> {
        self.scratch.clear();
        for datum in row {
            encode(datum, &mut self.scratch)?;
        }
        self.file
            .write_all(&(row.len() as u32).to_le_bytes())
            .map_err(io_error)?;
        self.file
            .write_all(&(self.scratch.len() as u32).to_le_bytes())
            .map_err(io_error)?;
        self.file.write_all(&self.scratch).map_err(io_error)?;
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<SpillReader> {
        let mut file = self.file.into_inner().map_err(|e| io_error(e.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(io_error)?;
        Ok(SpillReader {
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            rows: self.rows,
            scratch: Vec::new(),
        })
    }
}

impl SpillReader {
    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        if self.rows == 0 {
            return Ok(None);
        }
        self.rows -= 1;
        let mut header = [0; 8];
        self.file.read_exact(&mut header).map_err(io_error)?;
        let number = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
        };
        self.scratch.resize(number(4), 0);
        self.file.read_exact(&mut self.scratch).map_err(io_error)?;
        let bytes = Bytes::copy_from_slice(&self.scratch);
        let mut row = Vec::with_capacity(number(0));
        let mut at = 0;
        for _ in 0..number(0) {
            row.push(decode(&bytes, &mut at)?);
        }
        Ok(Some(row))
    }
}

fn encode(datum: &Datum, out: &mut Vec<u8>) -> Result<()> {
    let fixed = |tag: u8, bytes: [u8; 8], out: &mut Vec<u8>| {
        out.push(tag);
        out.extend_from_slice(&bytes);
    };
    let sized = |tag: u8, bytes: &[u8], out: &mut Vec<u8>| {
        out.push(tag);
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    match datum {
        Datum::Null => out.push(0),
        Datum::Int(n) => fixed(1, n.to_le_bytes(), out),
        Datum::UInt(n) => fixed(2, n.to_le_bytes(), out),
        Datum::Float(f) => fixed(3, f64::from(*f).to_le_bytes(), out),
        Datum::Double(f) => fixed(4, f.to_le_bytes(), out),
        Datum::Decimal(d) => sized(5, d.to_string().as_bytes(), out),
        Datum::Bytes(bytes) => sized(6, bytes, out),
        Datum::Time(t) => {
            fixed(7, t.to_packed().to_le_bytes(), out);
            out.push(match t.kind() {
                TimeKind::Date => 0,
                TimeKind::DateTime => 1,
                TimeKind::Timestamp => 2,
            });
            out.push(t.fsp());
        }
        Datum::Duration(d) => {
            fixed(8, d.micros().to_le_bytes(), out);
            out.push(d.fsp());
        }
        Datum::Enum(n) => fixed(9, n.to_le_bytes(), out),
        Datum::Set(n) => fixed(10, n.to_le_bytes(), out),
        Datum::Bit(n) => fixed(11, n.to_le_bytes(), out),
        Datum::Json(json) => sized(12, json.as_slice(), out),
    }
    Ok(())
}

fn decode(bytes: &Bytes, at: &mut usize) -> Result<Datum> {
    let mut take = |len: usize| -> Result<Bytes> {
        let end = at
            .checked_add(len)
            .filter(|end| *end <= bytes.len())
            .ok_or_else(damaged)?;
        let part = bytes.slice(*at..end);
        *at = end;
        Ok(part)
    };
    let tag = take(1)?[0];
    let number = |bytes: &[u8]| {
        bytes
            .first_chunk::<8>()
            .map(|b| u64::from_le_bytes(*b))
            .ok_or_else(damaged)
    };
    let mut sized = || -> Result<Bytes> {
        let len = take(4)?;
        let len = len
            .first_chunk::<4>()
            .map(|b| u32::from_le_bytes(*b))
            .ok_or_else(damaged)?;
        take(len as usize)
    };
    Ok(match tag {
        0 => Datum::Null,
        5 => {
            let text = sized()?;
            Datum::Decimal(Decimal::parse(
                std::str::from_utf8(&text).map_err(|_| damaged())?,
            )?)
        }
        6 => Datum::Bytes(sized()?),
        12 => Datum::Json(Json::from_bytes(sized()?)?),
        1 => Datum::Int(number(&take(8)?)? as i64),
        2 => Datum::UInt(number(&take(8)?)?),
        3 => Datum::Float(f64::from_bits(number(&take(8)?)?) as f32),
        4 => Datum::Double(f64::from_bits(number(&take(8)?)?)),
        7 => {
            let packed = number(&take(8)?)?;
            let rest = take(2)?;
            let kind = match rest[0] {
                0 => TimeKind::Date,
                1 => TimeKind::DateTime,
                2 => TimeKind::Timestamp,
                _ => return Err(damaged()),
            };
            Datum::Time(Time::from_packed(packed, kind, rest[1])?)
        }
        8 => {
            let micros = number(&take(8)?)? as i64;
            Datum::Duration(Duration::from_micros(micros, take(1)?[0])?)
        }
        9 => Datum::Enum(number(&take(8)?)?),
        10 => Datum::Set(number(&take(8)?)?),
        11 => Datum::Bit(number(&take(8)?)?),
        _ => return Err(damaged()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let rows = vec![
            vec![
                Datum::Null,
                Datum::Int(-5),
                Datum::UInt(u64::MAX),
                Datum::Float(1.5),
                Datum::Double(-0.25),
            ],
            vec![
                Datum::Decimal(Decimal::parse("-123.4500").unwrap()),
                Datum::Bytes(Bytes::from_static(b"\0a")),
                Datum::Enum(3),
                Datum::Set(5),
                Datum::Bit(7),
                Datum::Duration(Duration::from_micros(-1_500_000, 3).unwrap()),
                Datum::Time(Time::zero(TimeKind::Timestamp, 6)),
            ],
            vec![],
        ];
        let mut writer = SpillWriter::new(&std::env::temp_dir()).unwrap();
        for row in &rows {
            writer.write(row).unwrap();
        }
        assert_eq!(writer.rows(), 3);
        let mut reader = writer.finish().unwrap();
        for row in rows {
            assert_eq!(reader.next().unwrap(), Some(row));
        }
        assert_eq!(reader.next().unwrap(), None);
    }
}
