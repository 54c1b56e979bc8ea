//! Keys the server makes for itself: the RSA pair that passwords are encrypted for, and a self-signed certificate.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rsa::pkcs8::{EncodePublicKey, LineEnding};
use rsa::{Oaep, RsaPrivateKey};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha1::Sha1;
use tokio::sync::OnceCell;
use tokio_rustls::TlsAcceptor;

const RSA_BITS: usize = 2048;

/// Made when a client first asks for it: it takes a noticeable part of a second.
#[derive(Default)]
pub(crate) struct PasswordKey {
    key: OnceCell<Option<RsaPrivateKey>>,
}

impl PasswordKey {
    async fn get(&self) -> Option<&RsaPrivateKey> {
        self.key
            .get_or_init(|| async {
                let made =
                    tokio::task::spawn_blocking(|| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS));
                made.await
                    .ok()?
                    .inspect_err(|e| tracing::error!(error = %e, "no RSA key could be made"))
                    .ok()
            })
            .await
            .as_ref()
    }

    pub(crate) async fn public_pem(this: &Arc<Self>) -> Option<String> {
        this.get()
            .await?
            .to_public_key()
            .to_public_key_pem(LineEnding::LF)
            .ok()
    }

    /// OAEP with SHA-1: what the clients of `caching_sha2_password` use.
    pub(crate) async fn decrypt(this: &Arc<Self>, encrypted: Bytes) -> Option<Vec<u8>> {
        let key = this.get().await?.clone();
        let decrypted = tokio::task::spawn_blocking(move || key.decrypt(Oaep::new::<Sha1>(), &encrypted));
        decrypted.await.ok()?.ok()
    }
}

/// TLS with the given PEM files, or with a self-signed certificate made now.
pub(crate) fn tls_acceptor(files: Option<(&Path, &Path)>) -> Result<TlsAcceptor, String> {
    let (chain, key) = match files {
        Some((cert, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert)
                .map_err(|e| format!("{}: {e}", cert.display()))?
                .collect();
            let chain = chain.map_err(|e| format!("{}: {e}", cert.display()))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("{}: {e}", key.display()))?;
            (chain, key)
        }
        None => {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()])
                .map_err(|e| e.to_string())?;
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(|e| e.to_string())?;
            (vec![made.cert.der().clone()], key)
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| e.to_string())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
