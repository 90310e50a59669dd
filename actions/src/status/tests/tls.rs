//! Forges with certificates that `openssl` made, over real TLS on loopback.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{client_of, config, status};
use crate::forge::ForgeKind;
use crate::status::{Delivered, DeliveryError, State};

/// A certificate and its key, in PEM files.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    key: PathBuf,
}

#[expect(clippy::disallowed_methods, reason = "the program that users make certificates with")]
pub(crate) fn openssl(arguments: &[&str], directory: &Path, name: &str) -> Certificate {
    let at = |ending: &str| directory.join(format!("{name}.{ending}"));
    let (certificate, key) = (at("crt"), at("key"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(arguments)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Certificate { certificate, key }
}

/// A forge that takes every status. Counts the connections.
struct Forge {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Forge {
    fn start(certificate: &Certificate) -> Self {
        let chain = vec![CertificateDer::from_pem_file(&certificate.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let settings = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let settings = Arc::new(settings);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let session = ServerConnection::new(Arc::clone(&settings)).unwrap();
                let mut stream = StreamOwned::new(session, stream.unwrap());
                let mut seen = Vec::new();
                let mut block = [0; 4096];
                // The body ends in a brace. A client that refuses the certificate sends none.
                while !seen.ends_with(b"}") {
                    match stream.read(&mut block) {
                        Ok(count) if count > 0 => seen.extend_from_slice(&block[..count]),
                        Ok(_) | Err(_) => break,
                    }
                }
                let answer = "HTTP/1.1 201 Created\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{\"id\":1}";
                stream.write_all(answer.as_bytes()).unwrap_or_default();
                stream.conn.send_close_notify();
                stream.flush().unwrap_or_default();
            }
        });
        Self { url, connections }
    }
}

async fn send(forge: &Forge, ca_file: &Path) -> Result<Delivered, DeliveryError> {
    let mut config = config(ForgeKind::Gitea, &forge.url);
    config.ca_file = Some(ca_file.to_owned());
    client_of(&config).0.send(&status("levain/app", State::Success)).await
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_works_when_it_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("no-name", &["-subj", "/CN=forge"][..]),
        ("name", &["-subj", "/CN=forge", "-addext", "subjectAltName=IP:127.0.0.1"]),
        (
            "leaf",
            &[
                "-subj",
                "/CN=forge",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ],
        ),
    ] {
        let certificate = openssl(arguments, directory.path(), name);
        let forge = Forge::start(&certificate);
        let sent = send(&forge, &certificate.certificate).await;
        assert!(matches!(sent, Ok(Delivered::Created { id: Some(1) })), "{name}: {sent:?}");
    }
}

#[tokio::test]
async fn other_certificates_are_refused_and_not_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["-subj", "/CN=forge", "-addext", "subjectAltName=IP:127.0.0.1"];
    let theirs = openssl(&arguments, directory.path(), "theirs");
    // The same names, another key.
    let ours = openssl(&arguments, directory.path(), "ours");
    let forge = Forge::start(&theirs);
    let error = send(&forge, &ours.certificate).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Certificate { .. }), "{error}");
    assert!(error.to_string().contains("--forge-ca-file"), "{error}");
    assert_eq!(forge.connections.load(Ordering::SeqCst), 1);
}
