//! Passwords and storage URIs, which the text that is shown of a statement must not have.

use ilmenite_base::redact::redact_uri;

use crate::ast::{Account, SetItem, Statement};

/// May a string of the statement be a password or a storage URI? Its text is shown in process lists and logs.
pub(crate) fn has_secrets(statement: &Statement) -> bool {
    match statement {
        Statement::Account(Account::Create { .. } | Account::Alter { .. } | Account::Grant { .. }) => true,
        Statement::Set(items) => items.iter().any(|item| match item {
            SetItem::Password { .. } | SetItem::UserVariable { .. } => true,
            SetItem::Variable { name, .. } => name == "tidb_cloud_storage_uri",
            _ => false,
        }),
        Statement::Prepare { .. } => true,
        _ => false,
    }
}

/// The text with its string literals masked: of URIs the secret parts, of others all.
pub(crate) fn masked(text: &[u8], range: std::ops::Range<usize>, strings: &[(usize, usize)]) -> String {
    let mut out = String::new();
    let mut at = range.start;
    let inside = strings
        .iter()
        .filter(|(start, end)| *start >= range.start && *end <= range.end);
    for (start, end) in inside {
        out.push_str(&String::from_utf8_lossy(&text[at..*start]));
        let literal = String::from_utf8_lossy(&text[*start..*end]);
        let inner = literal.trim_matches(['\'', '"']);
        if inner.contains("://") && !inner.contains(char::is_whitespace) {
            out.push_str(&format!("'{}'", redact_uri(inner)));
        } else {
            out.push_str("'***'");
        }
        at = *end;
    }
    out.push_str(&String::from_utf8_lossy(&text[at..range.end]));
    out
}
