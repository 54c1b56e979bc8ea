//! What a command is answered with, but for result sets: OK, EOF and ERR packets.

use ilmenite_error::Error;
use ilmenite_executor::OkInfo;
use mysql_common::constants::{CapabilityFlags, StatusFlags};

use crate::packet::{put_lenenc_bytes, put_lenenc_int};

fn status_flags(info: &OkInfo) -> u16 {
    let mut flags = StatusFlags::empty();
    let session = info.session;
    flags.set(StatusFlags::SERVER_STATUS_IN_TRANS, session.in_transaction);
    flags.set(StatusFlags::SERVER_STATUS_AUTOCOMMIT, session.autocommit);
    flags.set(
        StatusFlags::SERVER_STATUS_NO_BACKSLASH_ESCAPES,
        session.no_backslash_escapes,
    );
    flags.set(StatusFlags::SERVER_MORE_RESULTS_EXISTS, info.more_results);
    flags.bits()
}

/// `header`: 0, or 0xfe for the OK that ends a result set in place of EOF.
pub(crate) fn put_ok(out: &mut Vec<u8>, header: u8, info: &OkInfo) {
    out.push(header);
    put_lenenc_int(out, info.affected_rows);
    put_lenenc_int(out, info.last_insert_id);
    out.extend_from_slice(&status_flags(info).to_le_bytes());
    out.extend_from_slice(&info.warnings.to_le_bytes());
    if !info.info.is_empty() {
        put_lenenc_bytes(out, info.info.as_bytes());
    }
}

pub(crate) fn put_eof(out: &mut Vec<u8>, info: &OkInfo) {
    out.push(0xfe);
    out.extend_from_slice(&info.warnings.to_le_bytes());
    out.extend_from_slice(&status_flags(info).to_le_bytes());
}

pub(crate) fn put_error(out: &mut Vec<u8>, error: &Error, capabilities: CapabilityFlags) {
    out.push(0xff);
    out.extend_from_slice(&error.code.to_le_bytes());
    if capabilities.contains(CapabilityFlags::CLIENT_PROTOCOL_41) {
        out.push(b'#');
        out.extend_from_slice(&error.sqlstate);
    }
    out.extend_from_slice(error.message.as_bytes());
}
