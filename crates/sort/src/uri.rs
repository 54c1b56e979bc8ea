//! Storage URIs, as in TiDB's `tidb_cloud_storage_uri`, and keeping their secrets out of sight.
//!
//! | scheme | parameters |
//! |---|---|
//! | `s3://bucket/prefix` | `endpoint`, `region`, `access-key`, `secret-access-key`, `session-token`, `force-path-style` (default true), `use-accelerate-endpoint`, `sse`, `sse-kms-key-id` |
//! | `gcs://`, `gs://bucket/prefix` | `endpoint`, `credentials-file` |
//! | `azure://`, `azblob://container/prefix` | `account-name`, `account-key`, `sas-token`, `endpoint` |
//! | `file:///dir` | none |
//!
//! Without keys in the URI, those of the environment or of the machine's role are used. A parameter that is not in
//! this table is an error: ignoring one would be guessing.

use std::collections::BTreeMap;
use std::fmt;

use object_store::path::Path;
use url::Url;

use ilmenite_base::redact::{REDACTED, is_secret_name, parameter_name, redact_uri};

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    S3,
    Gcs,
    Azure,
    File,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::S3 => "s3",
            Scheme::Gcs => "gcs",
            Scheme::Azure => "azure",
            Scheme::File => "file",
        }
    }

    fn parameters(self) -> &'static [&'static str] {
        match self {
            Scheme::S3 => &[
                "endpoint",
                "region",
                "access-key",
                "secret-access-key",
                "session-token",
                "force-path-style",
                "use-accelerate-endpoint",
                "sse",
                "sse-kms-key-id",
            ],
            Scheme::Gcs => &["endpoint", "credentials-file"],
            Scheme::Azure => &["account-name", "account-key", "sas-token", "endpoint"],
            Scheme::File => &[],
        }
    }
}

/// A parsed storage URI. Shows itself without its secrets.
#[derive(Clone)]
pub struct StorageUri {
    pub scheme: Scheme,
    /// Bucket or container; empty for `file`.
    pub bucket: String,
    /// Path below the bucket without slashes at its ends, or for `file` the absolute directory.
    pub prefix: String,
    parameters: BTreeMap<String, String>,
    redacted: String,
    secrets: Secrets,
}

impl StorageUri {
    pub fn parse(uri: &str) -> Result<StorageUri> {
        let redacted = redact_uri(uri);
        let invalid = |detail: String| Error::InvalidUri(format!("{detail}: '{redacted}'"));
        let url = Url::parse(uri.trim()).map_err(|error| invalid(error.to_string()))?;
        let scheme = match url.scheme() {
            "s3" => Scheme::S3,
            "gcs" | "gs" => Scheme::Gcs,
            "azure" | "azblob" => Scheme::Azure,
            "file" => Scheme::File,
            other => {
                return Err(invalid(format!(
                    "unknown scheme '{other}' (known: s3, gcs, gs, azure, azblob, file)"
                )));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "a user or password before the bucket is not supported".into(),
            ));
        }
        if url.port().is_some() {
            return Err(invalid(
                "a port is not part of a bucket; use the parameter 'endpoint'".into(),
            ));
        }
        if url.fragment().is_some() {
            return Err(invalid("'#' must be written as %23".into()));
        }

        let mut parameters = BTreeMap::new();
        let mut secrets = Secrets::default();
        for (name, value) in url.query_pairs() {
            let name = parameter_name(&name);
            if !scheme.parameters().contains(&name.as_str()) {
                return Err(invalid(format!(
                    "unknown parameter '{name}' for {} (known: {})",
                    scheme.as_str(),
                    scheme.parameters().join(", ")
                )));
            }
            if is_secret_name(&name) {
                secrets.add(&value);
            }
            if parameters.insert(name.clone(), value.into_owned()).is_some() {
                return Err(invalid(format!("parameter '{name}' is given twice")));
            }
        }
        if parameters.contains_key("access-key") != parameters.contains_key("secret-access-key") {
            return Err(invalid("'access-key' and 'secret-access-key' go together".into()));
        }

        let (bucket, prefix) = if scheme == Scheme::File {
            if url
                .host_str()
                .is_some_and(|host| !host.is_empty() && host != "localhost")
            {
                return Err(invalid("a file URI has three slashes: file:///directory".into()));
            }
            let path = url
                .to_file_path()
                .map_err(|()| invalid("not a file path".into()))?;
            let path = path
                .to_str()
                .ok_or_else(|| invalid("the path is not UTF-8".into()))?;
            (String::new(), path.to_string())
        } else {
            let bucket = url.host_str().unwrap_or_default().to_string();
            if bucket.is_empty() {
                return Err(invalid("the bucket is missing".into()));
            }
            let path = Path::from_url_path(url.path()).map_err(|error| invalid(error.to_string()))?;
            (bucket, path.as_ref().to_string())
        };
        Ok(StorageUri {
            scheme,
            bucket,
            prefix,
            parameters,
            redacted,
            secrets,
        })
    }

    pub fn get(&self, parameter: &str) -> Option<&str> {
        self.parameters
            .get(parameter)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A yes-or-no parameter.
    pub fn get_bool(&self, parameter: &str, default: bool) -> Result<bool> {
        match self.get(parameter) {
            None => Ok(default),
            Some("true" | "1" | "on") => Ok(true),
            Some("false" | "0" | "off") => Ok(false),
            Some(other) => Err(Error::InvalidUri(format!(
                "'{parameter}' must be true or false, not '{other}': '{}'",
                self.redacted
            ))),
        }
    }

    /// The URI with `xxxxxx` for its secrets: the only form to store in a row, log or show.
    pub fn redacted(&self) -> &str {
        &self.redacted
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

impl fmt::Display for StorageUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

impl fmt::Debug for StorageUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageUri({})", self.redacted)
    }
}

/// Strings that must not appear in any text that leaves this crate.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    fn add(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        // A store may give back the value escaped for XML.
        let escaped = secret
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        for form in [secret.to_string(), encoded.replace('+', "%20"), encoded, escaped] {
            if !self.0.contains(&form) {
                self.0.push(form);
            }
        }
        // A secret inside of a longer one must not cut it in two.
        self.0.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_string();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED);
            }
        }
        text
    }
}
