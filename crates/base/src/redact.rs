//! Secrets in URIs of object storage: no text that is shown has them.

/// What stands in place of a secret.
pub const REDACTED: &str = "xxxxxx";

/// Parameters whose values are never shown. An access key's id is no secret, but TiDB hides it, too.
const SECRET_PARAMETERS: [&str; 5] = [
    "access-key",
    "secret-access-key",
    "session-token",
    "account-key",
    "sas-token",
];

/// The name of a parameter of a storage URI as it is known: TiDB takes `access_key` and `Access-Key`, too.
pub fn parameter_name(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// The text with the values of secret parameters, and any password, replaced. Works on anything, well-formed or not.
pub fn redact_uri(uri: &str) -> String {
    let (base, query) = match uri.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (uri, None),
    };
    let mut out = match (base.find("://"), base.rfind('@')) {
        (Some(scheme_end), Some(at)) if at > scheme_end => {
            format!("{}://{REDACTED}{}", &base[..scheme_end], &base[at..])
        }
        _ => base.to_string(),
    };
    if let Some(query) = query {
        let mut separator = '?';
        for pair in query.split('&') {
            out.push(separator);
            separator = '&';
            match pair.split_once('=') {
                Some((name, _)) if is_secret_name(name) => {
                    out.push_str(name);
                    out.push('=');
                    out.push_str(REDACTED);
                }
                _ => out.push_str(pair),
            }
        }
    }
    out
}

/// Is the value of this parameter never to be shown? A name as it stands in a URI.
pub fn is_secret_name(name: &str) -> bool {
    // A name written with %2D is the same name.
    let decoded = form_urlencoded::parse(name.as_bytes())
        .next()
        .map(|(name, _)| parameter_name(&name));
    decoded.is_some_and(|name| SECRET_PARAMETERS.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redaction_works_on_anything() {
        for (uri, redacted) in [
            ("", ""),
            ("?", "?"),
            (
                "s3://b?access-key=a&x=1&secret-access-key",
                "s3://b?access-key=xxxxxx&x=1&secret-access-key",
            ),
            (
                "s3://b?SECRET_ACCESS_KEY=a=b&secret%2Daccess%2Dkey=c",
                "s3://b?SECRET_ACCESS_KEY=xxxxxx&secret%2Daccess%2Dkey=xxxxxx",
            ),
            ("s3://u:p@b/x?sas-token=s", "s3://xxxxxx@b/x?sas-token=xxxxxx"),
            ("broken session-token=y", "broken session-token=y"),
        ] {
            assert_eq!(redact_uri(uri), redacted);
        }
    }
}
