//! TLS for the forges' interfaces: ring, the certificate authorities that Nix itself uses, and the
//! certificates that a user names.
//!
//! The configuration is made per client. The library's way, a provider installed for the whole
//! process, would be a static that whoever comes first decides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::{Endpoint, ForgeError};

/// Variables that name a bundle; the first that is set decides, as in Nix.
const VARIABLES: [&str; 2] = ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"];

/// The setting that names certificates for the forge alone.
const SETTING: &str = "--forge-ca-file";

/// Where the systems that Nix runs on keep their bundle.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/nix/var/nix/profiles/default/etc/ssl/certs/ca-bundle.crt",
];

/// Makes the TLS configuration for one interface.
///
/// An `http` interface gets one that trusts nobody, so that it works where no certificates are
/// installed, in a build sandbox for instance.
pub(crate) fn tls_config(endpoint: &Endpoint) -> Result<ClientConfig, ForgeError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| ForgeError::Tls { source })?;
    if endpoint.base.scheme() != "https" {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let trusted = Trusted::find(endpoint.ca_file.as_deref(), variable)?;
    let verifier = Verifier::new(trusted, provider)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Certificates that are trusted.
#[derive(Debug)]
struct Trusted {
    roots: RootCertStore,
    /// Those that the user named, each of which may be the server's own.
    named: Vec<CertificateDer<'static>>,
}

impl Trusted {
    fn find(
        ca_file: Option<&Path>,
        variable: impl Fn(&'static str) -> Option<PathBuf>,
    ) -> Result<Self, ForgeError> {
        let asked = VARIABLES.into_iter().find_map(|name| {
            variable(name).filter(|path| !path.as_os_str().is_empty()).map(|path| (path, name))
        });
        let own = ca_file.map(|path| (path.to_owned(), SETTING));
        let mut named = Vec::new();
        for (path, setting) in own.iter().chain(&asked) {
            named.extend(bundle(path).map_err(|message| ForgeError::Certificates {
                path: path.display().to_string(),
                variable: setting,
                message,
            })?);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(named.iter().cloned());
        if asked.is_none() {
            let system = BUNDLES.iter().find_map(|path| bundle(Path::new(path)).ok());
            roots.add_parsable_certificates(system.unwrap_or_default());
        }
        if roots.is_empty() {
            let looked_in = BUNDLES.map(|path| format!("`{path}`")).to_vec();
            return Err(ForgeError::NoCertificates { looked_in });
        }
        Ok(Self { roots, named })
    }
}

/// Reads a bundle. Single certificates that are not understood are passed over, as everywhere.
fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let certificates: Vec<_> = certificates.filter_map(Result::ok).collect();
    if certificates.is_empty() {
        Err("it holds no certificate".to_owned())
    } else {
        Ok(certificates)
    }
}

/// Verifies as usual, and accepts a certificate that the user named as the server's own.
///
/// `openssl req -x509` makes certificates that are their own authority, often without the name that
/// the standards ask for. The usual rules refuse those. But whoever names a certificate means the
/// server that has its key, so only its dates and its signature are left to be checked.
#[derive(Debug)]
struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(trusted: Trusted, provider: Arc<CryptoProvider>) -> Result<Self, ForgeError> {
        let roots = Arc::new(trusted.roots);
        let usual = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let usual = usual.map_err(|error| ForgeError::Tls {
            source: rustls::Error::General(error.to_string()),
        })?;
        Ok(Self { usual, named: trusted.named })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.usual.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(rustls::Error::InvalidCertificate(error))
                if is_about_its_role(&error) && self.named.iter().any(|own| own == end_entity) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Returns whether a certificate was refused for what it says it is for, not for its dates, form or
/// signature. The library has no word of its own for an authority that is a server; it looks at dates
/// before that.
fn is_about_its_role(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }
            | CertificateError::Other(_)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::status::tests::tls::openssl;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let error = Trusted::find(None, |name| {
            Some(PathBuf::from(if name == "NIX_SSL_CERT_FILE" { "/absent/a" } else { "/absent/b" }))
        })
        .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`/absent/a`") && text.contains("`NIX_SSL_CERT_FILE`"), "{text}");
    }

    #[test]
    fn the_setting_names_its_file_in_errors() {
        let error = Trusted::find(Some(Path::new("/absent/own")), |_| None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`/absent/own`") && text.contains("`--forge-ca-file`"), "{text}");
    }

    #[test]
    fn a_named_certificate_is_refused_outside_of_its_dates() {
        let directory = tempfile::tempdir().unwrap();
        let made = openssl(&["-subj", "/CN=forge", "-days", "2"], directory.path(), "own");
        let trusted = Trusted::find(Some(&made.certificate), |_| None).unwrap();
        let own = trusted.named[0].clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new(trusted, provider).unwrap();
        let name = ServerName::try_from("forge.example.org").unwrap();
        let verify = |after: u64| {
            let now = UnixTime::now().as_secs() + after;
            let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
            verifier.verify_server_cert(&own, &[], &name, &[], now)
        };
        verify(0).unwrap();
        let error = verify(30 * 24 * 3600).unwrap_err();
        assert!(error.to_string().contains("expired"), "{error}");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("empty.pem");
        std::fs::write(&path, "nothing here\n").unwrap();
        assert_eq!(bundle(&path).unwrap_err(), "it holds no certificate");
    }
}
