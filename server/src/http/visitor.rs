//! Who asks: told by the request itself, before anything is looked up for it.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;

use super::cookies::Cookie;
use super::{App, Readers, local};
use crate::approve::{Approver, Way};
use crate::clock::Timestamp;
use crate::database::DatabaseError;
use crate::people::{ApiToken, Person};
use crate::secret::Hash;

/// Whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Visitor {
    /// Nobody that is known.
    Nobody,
    /// A user of this machine, whoever it is.
    Local,
    /// Somebody who signed in.
    Person(Person),
    /// A program with a token.
    Program(ApiToken),
}

impl Visitor {
    /// Returns whether nothing is known about them.
    pub(super) fn is_nobody(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Local | Self::Person(_) | Self::Program(_) => false,
        }
    }

    /// Returns whether it is the operator of this server, signed in.
    pub(super) fn is_operator(&self) -> bool {
        match self {
            Self::Person(person) => person.is_operator(),
            Self::Nobody | Self::Local | Self::Program(_) => false,
        }
    }

    /// Returns whether it may be a browser that acts for a page it shows.
    pub(super) fn is_browser(&self) -> bool {
        match self {
            Self::Nobody | Self::Local | Self::Person(_) => true,
            Self::Program(_) => false,
        }
    }

    /// Returns how they are named as somebody who approves.
    pub(super) fn approver(&self) -> Approver {
        let (way, name) = match self {
            Self::Nobody => (Way::Page, "nobody".to_owned()),
            Self::Local => (Way::Page, "a user of this machine".to_owned()),
            Self::Person(person) => match &person.account {
                Some(account) => {
                    let (login, id) = (&account.account.login, account.account.id);
                    (Way::Page, format!("{login} ({id})"))
                }
                None => (Way::Page, person.name().to_owned()),
            },
            Self::Program(token) => (Way::Token, format!("token {}", token.name)),
        };
        Approver { way, name }
    }
}

/// Somebody says who they are, and is not.
pub(super) struct Unknown;

/// Finds out who asks: by a token, by a cookie, or by where they ask from.
pub(super) async fn visitor(
    app: &App,
    parts: &Parts,
) -> Result<Result<Visitor, Unknown>, DatabaseError> {
    let now = Timestamp::now();
    if parts.headers.contains_key(AUTHORIZATION) {
        let Some(secret) = bearer(&parts.headers) else { return Ok(Err(Unknown)) };
        let token = app.database.token(Hash::of(secret), now).await?;
        return Ok(token.map(Visitor::Program).ok_or(Unknown));
    }
    let cookie = app.cookies.and_then(|cookies| cookies.read(Cookie::Session, &parts.headers));
    if let Some(secret) = cookie
        && let Some(person) = app.database.signed_in(Hash::of(&secret), now).await?
    {
        return Ok(Ok(Visitor::Person(person)));
    }
    Ok(Ok(if is_local(app, parts) { Visitor::Local } else { Visitor::Nobody }))
}

fn is_local(app: &App, parts: &Parts) -> bool {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    app.readers == Readers::Local && local::is_local(peer, &parts.headers)
}

/// Returns the origins of this server's own pages, as far as this request is concerned.
pub(super) fn own_origins(app: &App, parts: &Parts) -> Vec<String> {
    let mut own = vec![app.origin.to_string()];
    // On this machine people reach it by several names.
    if is_local(app, parts)
        && let Some(host) = parts.headers.get(HOST).and_then(|host| host.to_str().ok())
    {
        own.push(format!("http://{host}"));
    }
    own
}

/// Returns the token that a program sends.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next()?.to_str().ok()?;
    let (scheme, secret) = line.split_once(' ')?;
    let is_one = lines.next().is_none() && scheme.eq_ignore_ascii_case("bearer");
    is_one.then(|| secret.trim())
}
