//! People and programs that use the server: who they are, and how long that is believed.
//!
//! A person signs in with an account at a forge, and is known by its number there. Whoever runs the server signs in as
//! its operator, by a link. Programs send a token. What they may do with a project is another question: see
//! [`crate::rights`].

mod sessions;
mod sign_ins;
mod tokens;

use levain_actions::forge::{Account, ForgeKind};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::database::DatabaseError;

pub use sessions::SESSION;
pub use sign_ins::{NewSignInForge, SignInForge, SignInForgeError, Started, WAIT};
pub use tokens::{ApiToken, NewToken, TokenError};

/// The number of a person in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(pub(crate) i64);

/// Somebody who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Their number.
    pub id: PersonId,
    /// Their account; nothing for the operator.
    pub account: Option<ForgeAccount>,
}

/// An account at a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeAccount {
    /// The kind of forge.
    pub kind: ForgeKind,
    /// The address of its web pages.
    pub url: String,
    /// The account, with the name that it had when they signed in.
    pub account: Account,
}

impl Person {
    /// Returns what they are called.
    pub fn name(&self) -> &str {
        self.account.as_ref().map_or("operator", |account| &account.account.login)
    }

    /// Returns whether they run the server.
    pub fn is_operator(&self) -> bool {
        self.account.is_none()
    }
}

const COLUMNS: &str = "people.id, people.account, people.login, sign_in_forges.kind,
    sign_in_forges.url";
const TABLES: &str = "people LEFT JOIN sign_in_forges ON sign_in_forges.id = people.forge";

fn person(row: &AnyRow) -> Result<Person, DatabaseError> {
    let content = |what, found: String| DatabaseError::Content { table: "people", what, found };
    let kind: Option<String> = row.try_get(3)?;
    let account = match kind {
        None => None,
        Some(kind) => {
            let id: i64 = row.try_get(1)?;
            let account = Account {
                id: u64::try_from(id).map_err(|_negative| content("account", id.to_string()))?,
                login: row.try_get(2)?,
            };
            let kind = kind.parse().map_err(|_unknown| content("forge", kind))?;
            Some(ForgeAccount { kind, url: row.try_get(4)?, account })
        }
    };
    Ok(Person { id: PersonId(row.try_get(0)?), account })
}
