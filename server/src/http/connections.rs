//! Accepts connections, no more than there is room for, and ends those that say nothing.
//!
//! No address has more than a share of the room: whoever takes all of it keeps deliveries out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use super::Limits;
use super::proxies::{Proxies, household};
use super::shares::{Places, Whose};

/// How long to wait when no connection can be accepted: for want of files, for instance.
const PAUSE: Duration = Duration::from_millis(100);
/// How many addresses it takes to have all connections.
const SHARES: usize = 4;

/// Whose share a connection is of; nobody's, if it is from this machine or a proxy, which speaks for many.
fn whose(peer: IpAddr, proxies: &Proxies) -> Option<Whose> {
    let peer = peer.to_canonical();
    (!peer.is_loopback() && !proxies.has(peer)).then(|| Whose::Address(household(peer)))
}

/// Answers until `ending` is notified, and then those who are being answered.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    proxies: Proxies,
    ending: Arc<Notify>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let shares = Places::new(limits.connections, (limits.connections / SHARES).max(1));
    let graceful = GracefulShutdown::new();
    let mut ending = std::pin::pin!(ending.notified());
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut ending => break,
        };
        let (stream, peer): (_, SocketAddr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let share = match whose(peer.ip(), &proxies) {
            None => None,
            Some(whose) => match shares.take(whose) {
                Some(share) => Some(share),
                // Told by the end of the connection: to say more would take what others need.
                None => continue,
            },
        };
        // Whoever does not read what is answered is given up by the system.
        let patience = u32::try_from(limits.body.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream, patience) {
            tracing::debug!(%error, "cannot limit how long a connection may be stuck");
        }
        // A layer for each connection would make all routes anew.
        let service = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            service.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection");
            }
            drop((place, share));
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_and_this_machine_and_proxies_have_none() {
        let proxies = Proxies::new(["192.0.2.7".parse().unwrap()]);
        let whose = |address: &str| whose(address.parse().unwrap(), &proxies);
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "192.0.2.7", "::ffff:192.0.2.7"] {
            assert_eq!(whose(address), None, "{address}");
        }
        let one = whose("192.0.2.8");
        assert!(one.is_some());
        assert_eq!(one, whose("::ffff:192.0.2.8"));
        assert_ne!(one, whose("192.0.2.9"));
        // Whoever has one address of a network of the new kind has all of them.
        assert_eq!(whose("2001:db8::1"), whose("2001:db8::2"));
    }
}
