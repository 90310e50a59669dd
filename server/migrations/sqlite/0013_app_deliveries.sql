-- What forges deliver for the repositories of an App. Whose it is, is read when it is kept: then it is handed on to the
-- project, under the same key, and its body is kept there.
CREATE TABLE app_deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app INTEGER NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    event TEXT,
    -- Nothing any more if it was handed on.
    body BLOB NOT NULL,
    -- Of the body, to tell whether another one comes under the key.
    digest TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'handed-on', 'acted', 'ignored', 'failed')),
    outcome TEXT,
    settled_at INTEGER,
    repeats INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (app, key)
) STRICT;

CREATE INDEX app_deliveries_waiting ON app_deliveries (id) WHERE state = 'waiting';
CREATE INDEX app_deliveries_by_age ON app_deliveries (received_at);

-- Who is on the way to a forge to make an App. Of what they bring back there is only a hash.
CREATE TABLE app_departures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL UNIQUE,
    person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    forge TEXT NOT NULL,
    url TEXT NOT NULL,
    -- The last part of the address that the forge was told to deliver to.
    hook TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- Whether the repositories that an App is installed in become projects by themselves.
ALTER TABLE apps ADD COLUMN follows INTEGER NOT NULL DEFAULT 0;
