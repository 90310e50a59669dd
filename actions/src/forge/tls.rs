//! TLS for the forges' interfaces: ring, and the certificate authorities that Nix itself uses.
//!
//! The configuration is made per client. The library's way, a provider installed for the whole
//! process, would be a static that whoever comes first decides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::{Endpoint, ForgeError};

/// Variables that name a bundle; the first that is set decides, as in Nix.
const VARIABLES: [&str; 2] = ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"];

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
    let roots = if endpoint.base.scheme() == "https" {
        authorities(|variable| std::env::var_os(variable).map(PathBuf::from))?
    } else {
        RootCertStore::empty()
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| ForgeError::Tls { source })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn authorities(
    variable: impl Fn(&'static str) -> Option<PathBuf>,
) -> Result<RootCertStore, ForgeError> {
    let asked = VARIABLES.into_iter().find_map(|name| {
        variable(name).filter(|path| !path.as_os_str().is_empty()).map(|path| (name, path))
    });
    if let Some((name, path)) = asked {
        return bundle(&path).map_err(|message| ForgeError::Certificates {
            path: path.display().to_string(),
            variable: name,
            message,
        });
    }
    BUNDLES.iter().find_map(|path| bundle(Path::new(path)).ok()).ok_or_else(|| {
        ForgeError::NoCertificates { looked_in: BUNDLES.map(|path| format!("`{path}`")).to_vec() }
    })
}

/// Reads a bundle. Single certificates that are not understood are passed over, as everywhere.
fn bundle(path: &Path) -> Result<RootCertStore, String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if roots.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let error = authorities(|name| {
            Some(PathBuf::from(if name == "NIX_SSL_CERT_FILE" { "/absent/a" } else { "/absent/b" }))
        })
        .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`/absent/a`") && text.contains("`NIX_SSL_CERT_FILE`"), "{text}");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("empty.pem");
        std::fs::write(&path, "nothing here\n").unwrap();
        assert_eq!(bundle(&path).unwrap_err(), "it holds no certificate");
    }
}
