//! Accounts: who may log in, with what proof, and what they were granted. Kept by the catalog, one row each.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ilmenite_base::rng;
use ilmenite_catalog::{Catalog, Settings};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::privilege::Grants;
use crate::wildcard;
use ilmenite_error::{Error, Result};
use parking_lot::Mutex;

pub(crate) const NATIVE: &str = "mysql_native_password";
pub(crate) const CACHING_SHA2: &str = "caching_sha2_password";

/// How often a password is hashed before it is kept, for `caching_sha2_password`: what MySQL does by default.
const ROUNDS: u32 = 5000;
const SALT_BYTES: usize = 20;

/// How an account proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "plugin")]
pub(crate) enum Credential {
    /// SHA-1 of SHA-1 of the password, as MySQL keeps it: `*` and 40 hex digits; empty without a password.
    #[serde(rename = "mysql_native_password")]
    Native { hash: String },
    /// Salt and salted, repeated SHA-256 of the password, both in base64; empty without a password.
    #[serde(rename = "caching_sha2_password")]
    CachingSha2 { salt: String, hash: String },
}

impl Credential {
    /// For a password in plain text; `plugin` is one of the two names, or 1524.
    pub(crate) fn new(plugin: &str, password: &str) -> Result<Credential> {
        match plugin {
            NATIVE if password.is_empty() => Ok(Credential::Native { hash: String::new() }),
            NATIVE => {
                let digest = Sha1::digest(Sha1::digest(password.as_bytes()));
                Ok(Credential::Native {
                    hash: format!("*{}", hex::encode_upper(digest)),
                })
            }
            CACHING_SHA2 if password.is_empty() => Ok(Credential::CachingSha2 {
                salt: String::new(),
                hash: String::new(),
            }),
            CACHING_SHA2 => {
                let salt: [u8; SALT_BYTES] = rng::bytes();
                let hash = STANDARD.encode(stretch(password.as_bytes(), &salt));
                Ok(Credential::CachingSha2 {
                    salt: STANDARD.encode(salt),
                    hash,
                })
            }
            other => Err(Error::plugin_not_loaded(other)),
        }
    }

    pub(crate) fn plugin(&self) -> &'static str {
        match self {
            Credential::Native { .. } => NATIVE,
            Credential::CachingSha2 { .. } => CACHING_SHA2,
        }
    }

    pub(crate) fn is_passwordless(&self) -> bool {
        match self {
            Credential::Native { hash } | Credential::CachingSha2 { hash, .. } => hash.is_empty(),
        }
    }

    /// As `mysql.user.authentication_string` shows it.
    pub(crate) fn text(&self) -> String {
        match self {
            Credential::Native { hash } => hash.clone(),
            Credential::CachingSha2 { hash, .. } if hash.is_empty() => String::new(),
            Credential::CachingSha2 { salt, hash } => format!("$sha256${ROUNDS}${salt}${hash}"),
        }
    }
}

/// Repeated hashing, so that trying passwords against a stolen row is slow.
fn stretch(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let mut digest: [u8; 32] = Sha256::new()
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    for _ in 1..ROUNDS {
        digest = Sha256::new()
            .chain_update(digest)
            .chain_update(salt)
            .chain_update(password)
            .finalize()
            .into();
    }
    digest
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub user: String,
    /// A host name or address, with `%` and `_` as wildcards.
    pub host: String,
    pub credential: Credential,
    #[serde(default)]
    pub grants: Grants,
    #[serde(default)]
    pub locked: bool,
}

impl Account {
    /// The name of the account's row. A `@` of the user's own is escaped: which one parts user and host must be plain.
    fn key(user: &str, host: &str) -> String {
        format!("{}@{host}", user.replace('%', "%25").replace('@', "%40"))
    }

    /// The name that rows had before a `@` was escaped, where it is another one.
    fn key_of_old(user: &str, host: &str) -> Option<String> {
        user.contains(['%', '@']).then(|| format!("{user}@{host}"))
    }

    pub(crate) async fn load_all(catalog: &Catalog) -> Result<Vec<Account>> {
        let rows = catalog.settings(Settings::Users).await?;
        let accounts: Result<Vec<(String, Account)>> = rows
            .into_iter()
            .map(|(name, raw)| match serde_json::from_slice(&raw) {
                Ok(account) => Ok((name, account)),
                Err(e) => Err(Error::bug(format!("damaged row of account {name}: {e}"))),
            })
            .collect();
        let accounts = accounts?;
        let is_current =
            |(name, account): &&(String, Account)| *name == Account::key(&account.user, &account.host);
        let (current, old): (Vec<_>, Vec<_>) = accounts.iter().partition(is_current);
        let replaced = |old: &Account| {
            current
                .iter()
                .any(|(_, account)| account.user == old.user && account.host == old.host)
        };
        let old = old.into_iter().filter(|(_, account)| !replaced(account));
        Ok(current
            .iter()
            .copied()
            .chain(old)
            .map(|(_, account)| account.clone())
            .collect())
    }

    /// Writes accounts as they now are (`Some`) or removes them, all or none.
    pub(crate) async fn store(
        catalog: &Catalog,
        changes: Vec<(String, String, Option<Account>)>,
    ) -> Result<()> {
        let mut rows = Vec::new();
        let stored: HashMap<_, _> = catalog.settings(Settings::Users).await?.into_iter().collect();
        for (user, host, account) in changes {
            if let Some(old) = Account::key_of_old(&user, &host)
                && let Some(raw) = stored.get(&old)
                && serde_json::from_slice(raw).is_ok_and(|a: Account| a.user == user && a.host == host)
            {
                rows.push((old, None));
            }
            let raw = match account {
                None => None,
                Some(account) => Some(
                    serde_json::to_vec(&account)
                        .map_err(|e| Error::bug(e.to_string()))?
                        .into(),
                ),
            };
            rows.push((Account::key(&user, &host), raw));
        }
        Ok(catalog.put_settings(Settings::Users, rows).await?)
    }

    /// `root` with an empty password, who may do everything: what an empty server starts with.
    pub(crate) fn root() -> Account {
        Account {
            user: "root".into(),
            host: "%".into(),
            credential: Credential::Native { hash: String::new() },
            grants: Grants::everything(),
            locked: false,
        }
    }
}

/// The account that a client from `host` acts as: the most specific host that matches.
pub(crate) fn choose<'a>(accounts: &'a [Account], user: &str, host: &str) -> Option<&'a Account> {
    let local = host == "127.0.0.1" || host == "::1";
    accounts
        .iter()
        .filter(|a| a.user == user)
        .filter(|a| host_matches(&a.host, host) || (local && a.host.eq_ignore_ascii_case("localhost")))
        .min_by_key(|a| (a.host.contains(['%', '_']), std::cmp::Reverse(a.host.len())))
}

/// `%` and `_` are wildcards; letters are the same in either case.
fn host_matches(pattern: &str, host: &str) -> bool {
    wildcard::matches(&pattern.to_ascii_lowercase(), &host.to_ascii_lowercase())
}

/// An account during a login, with what is remembered of earlier ones.
#[derive(Clone)]
pub struct Login {
    pub(crate) account: Account,
    pub(crate) cache: Arc<FastAuth>,
}

impl Login {
    pub fn plugin(&self) -> &'static str {
        self.account.credential.plugin()
    }

    pub fn is_passwordless(&self) -> bool {
        self.account.credential.is_passwordless()
    }

    /// `SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password)))`.
    pub fn verify_native(&self, nonce: &[u8], response: &[u8]) -> bool {
        let Credential::Native { hash } = &self.account.credential else {
            return false;
        };
        let Some(stage2) = hash.strip_prefix('*').and_then(|h| hex::decode(h).ok()) else {
            return false;
        };
        let mask = Sha1::new().chain_update(nonce).chain_update(&stage2).finalize();
        if response.len() != mask.len() {
            return false;
        }
        let stage1: Vec<u8> = response.iter().zip(mask).map(|(r, m)| r ^ m).collect();
        same(&Sha1::digest(stage1), &stage2)
    }

    /// `SHA256(password) XOR SHA256(SHA256(SHA256(password)) + nonce)`, against what a full login left behind;
    /// `None` when there was none since the process began or the password changed.
    pub fn verify_fast(&self, nonce: &[u8], response: &[u8]) -> Option<bool> {
        let double = self.cache.get(&self.account)?;
        let mask = Sha256::new().chain_update(double).chain_update(nonce).finalize();
        if response.len() != mask.len() {
            return Some(false);
        }
        let single: Vec<u8> = response.iter().zip(mask).map(|(r, m)| r ^ m).collect();
        Some(same(&Sha256::digest(single), &double))
    }

    /// The full way: the password itself.
    pub async fn verify_password(&self, password: &[u8]) -> bool {
        let Credential::CachingSha2 { salt, hash } = &self.account.credential else {
            return false;
        };
        let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else {
            return false;
        };
        let password = password.to_vec();
        let double: [u8; 32] = Sha256::digest(Sha256::digest(&password)).into();
        let stretched = tokio::task::spawn_blocking(move || stretch(&password, &salt)).await;
        let right = stretched.is_ok_and(|s| same(&s, &hash));
        if right {
            self.cache.put(&self.account, double);
        }
        right
    }
}

/// Compares without telling by its time where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// Name and host.
type AccountKey = (String, String);

/// What full logins with `caching_sha2_password` left behind: SHA-256 of SHA-256 of passwords, by account row.
#[derive(Default)]
pub(crate) struct FastAuth {
    known: Mutex<HashMap<AccountKey, (Credential, [u8; 32])>>,
}

impl FastAuth {
    pub(crate) fn get(&self, account: &Account) -> Option<[u8; 32]> {
        let known = self.known.lock();
        let (credential, double) = known.get(&(account.user.clone(), account.host.clone()))?;
        // A new password makes a new row.
        (*credential == account.credential).then_some(*double)
    }

    pub(crate) fn put(&self, account: &Account, double: [u8; 32]) {
        let key = (account.user.clone(), account.host.clone());
        self.known
            .lock()
            .insert(key, (account.credential.clone(), double));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(credential: Credential) -> Login {
        Login {
            account: Account {
                credential,
                ..Account::root()
            },
            cache: Arc::default(),
        }
    }

    #[test]
    fn native_scramble_is_mysqls() {
        let credential = Credential::new(NATIVE, "secret").unwrap();
        // SELECT PASSWORD('secret') of MySQL 5.7
        assert_eq!(credential.text(), "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7");
        let nonce = [7u8; 20];
        let stage1 = Sha1::digest(b"secret");
        let mask = Sha1::new()
            .chain_update(nonce)
            .chain_update(Sha1::digest(stage1))
            .finalize();
        let response: Vec<u8> = stage1.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        let login = login(credential);
        assert!(login.verify_native(&nonce, &response));
        assert!(!login.verify_native(&[8; 20], &response));
        assert!(!login.verify_native(&nonce, &response[1..]));
    }

    #[tokio::test]
    async fn the_fast_way_opens_with_a_full_login_and_closes_with_a_new_password() {
        let mut login = login(Credential::new(CACHING_SHA2, "secret").unwrap());
        let nonce = [9u8; 20];
        let single = Sha256::digest(b"secret");
        let mask = Sha256::new()
            .chain_update(Sha256::digest(single))
            .chain_update(nonce)
            .finalize();
        let response: Vec<u8> = single.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        assert_eq!(login.verify_fast(&nonce, &response), None);
        assert!(!login.verify_password(b"wrong").await);
        assert_eq!(login.verify_fast(&nonce, &response), None);
        assert!(login.verify_password(b"secret").await);
        assert_eq!(login.verify_fast(&nonce, &response), Some(true));
        assert_eq!(login.verify_fast(&[1; 20], &response), Some(false));
        login.account.credential = Credential::new(CACHING_SHA2, "new").unwrap();
        assert_eq!(login.verify_fast(&nonce, &response), None);
    }

    #[test]
    fn s16_names_with_an_at_sign_have_rows_of_their_own() {
        assert_ne!(Account::key("a", "b@%"), Account::key("a@b", "%"));
        assert_ne!(Account::key("a%40b", "%"), Account::key("a@b", "%"));
        assert_eq!(Account::key("root", "%"), "root@%");
    }

    #[test]
    fn the_most_specific_host_is_chosen() {
        let account = |host: &str| Account {
            host: host.into(),
            ..Account::root()
        };
        let all = [
            account("%"),
            account("10.0.%"),
            account("10.0.0.1"),
            account("localhost"),
        ];
        let chosen = |host| choose(&all, "root", host).unwrap().host.as_str();
        assert_eq!(
            (chosen("10.0.0.1"), chosen("10.0.0.2"), chosen("9.9.9.9")),
            ("10.0.0.1", "10.0.%", "%")
        );
        assert_eq!(chosen("127.0.0.1"), "localhost");
        assert!(choose(&all, "nobody", "10.0.0.1").is_none());
    }
}
