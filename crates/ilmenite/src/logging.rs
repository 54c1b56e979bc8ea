//! Logs on stderr, in the unified log format of TiDB's family:
//! `[2026/11/23 10:20:42.123 +00:00] [INFO] [server.rs:12] ["message"] [key=value]`, or one JSON object a line.

use std::fmt::{self, Write as _};

use ilmenite_base::clock;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// `level`: error, warn, info, debug, trace, or a full filter such as `info,ilmenite_ddl=debug`.
pub(crate) fn init(level: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|e| format!("log level '{level}': {e}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.event_format(Unified).try_init(),
        LogFormat::Json => builder
            .json()
            .with_file(true)
            .with_line_number(true)
            .flatten_event(true)
            .try_init(),
    }
    .map_err(|e| e.to_string())
}

struct Unified;

impl<S, N> FormatEvent<S, N> for Unified
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let meta = event.metadata();
        let now = clock::since_epoch();
        let now = Timestamp::new(now.as_secs() as i64, now.subsec_nanos() as i32).unwrap_or(Timestamp::MAX);
        let now = now.to_zoned(TimeZone::system());
        write!(
            out,
            "[{}] [{}]",
            now.strftime("%Y/%m/%d %H:%M:%S.%3f %:z"),
            meta.level()
        )?;
        let file = meta
            .file()
            .map_or("<unknown>", |f| f.rsplit(['/', '\\']).next().unwrap_or(f));
        write!(out, " [{file}:{}]", meta.line().unwrap_or(0))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(out, " [{}]{}", quoted(&fields.message, true), fields.rest)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            // Writing to a String cannot fail.
            let _ = write!(self.rest, " [{}={}]", field.name(), quoted(&value, false));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// Quoted when it must be (spaces, quotes, brackets, '=' or nothing at all) or when `always`.
fn quoted(text: &str, always: bool) -> String {
    let plain = !text.is_empty()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"[]=".contains(c));
    if plain && !always {
        text.to_string()
    } else {
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_where_the_format_asks_for_them() {
        assert_eq!(quoted("plain", false), "plain");
        assert_eq!(quoted("plain", true), "\"plain\"");
        assert_eq!(quoted("two words", false), "\"two words\"");
        assert_eq!(quoted("a=b", false), "\"a=b\"");
        assert_eq!(quoted("", false), "\"\"");
        assert_eq!(quoted("line\nbreak", false), "\"line\\nbreak\"");
    }
}
