//! Hosts that are spoken to directly, since a program that knows no proxy does it.
//!
//! The rules are those of the proxy, applied before: every address of the host has to be public, or
//! the operator has allowed it. The program resolves the name once more, so a host whose owner changes
//! its address in between is not caught. Start at [`NixProgram::direct_refusal`].

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::bounded::Bounded;
use super::network::{AllowedHost, Refusal, refusal};
use super::program::NixProgram;
use crate::config::StoreConfig;

/// How long ssh may take to say where it would connect to.
const CONFIGURATION: Duration = Duration::from_secs(20);

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectProtocol {
    /// By ssh, with the operator's configuration of it.
    Ssh,
    /// By git itself, without a proxy, credentials or encryption.
    Git,
}

impl NixProgram {
    /// Returns why a host may not be spoken to directly, or nothing if it may.
    pub fn direct_refusal(
        &self,
        protocol: DirectProtocol,
        (name, port): (&str, Option<u16>),
        allowed: &[AllowedHost],
        store: &StoreConfig,
    ) -> Option<Refusal> {
        match protocol {
            DirectProtocol::Git => {
                let port = port.unwrap_or(9418);
                let is_named = allowed.iter().any(|allowed| allowed.names(name, port));
                (!is_named).then(|| Refusal::Unproxied { host: name.to_owned(), port })
            }
            DirectProtocol::Ssh => {
                let (host, port) = self.ssh_place(name, port, store);
                if allowed.iter().any(|allowed| allowed.names(name, port)) {
                    return None;
                }
                let addresses = (host.as_str(), port).to_socket_addrs();
                let addresses: Vec<SocketAddr> =
                    addresses.map(Iterator::collect).unwrap_or_default();
                // Under the name that the lock file has: the other one is the operator's own affair.
                refusal(name, port, &addresses, allowed)
            }
        }
    }

    /// Returns where ssh connects to for a name, which may be one of the user's own.
    fn ssh_place(&self, name: &str, port: Option<u16>, store: &StoreConfig) -> (String, u16) {
        #[expect(
            clippy::disallowed_methods,
            reason = "Nix and git start ssh, and so it is asked here"
        )]
        let mut command = Command::new("ssh");
        command.env_clear().envs(&store.environment).envs(&store.user_environment);
        command.arg("-G").stdin(Stdio::null());
        if let Some(port) = port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", name]);
        let text = match self.stop.run(command, CONFIGURATION) {
            Ok(Bounded::Ended(output)) if output.status.success() => output.stdout,
            // Without ssh nothing is fetched either.
            Ok(_) | Err(_) => Vec::new(),
        };
        let (host, configured) = place(&String::from_utf8_lossy(&text));
        (host.unwrap_or_else(|| name.to_owned()), configured.or(port).unwrap_or(22))
    }
}

/// Reads host and port in what `ssh -G` prints.
fn place(text: &str) -> (Option<String>, Option<u16>) {
    let value = |wanted: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(name, _)| *name == wanted).map(|(_, value)| value.trim())
    };
    (value("hostname").map(str::to_owned), value("port").and_then(|port| port.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_ssh_says_where_it_connects_to() {
        let text = "host h\nuser git\nhostname 10.0.0.1\nport 2222\naddressfamily any\n";
        assert_eq!(place(text), (Some("10.0.0.1".to_owned()), Some(2222)));
        assert_eq!(place("hostname a.b\nport x\n"), (Some("a.b".to_owned()), None));
        assert_eq!(place(""), (None, None));
    }
}
