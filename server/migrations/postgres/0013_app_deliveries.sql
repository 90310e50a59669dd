-- What forges deliver for the repositories of an App. Whose it is, is read when it is kept: then it is handed on to the
-- project, under the same key, and its body is kept there.
CREATE TABLE app_deliveries (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app BIGINT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    event TEXT,
    -- Nothing any more if it was handed on.
    body BYTEA NOT NULL,
    -- Of the body, to tell whether another one comes under the key.
    digest TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'handed-on', 'acted', 'ignored', 'failed')),
    outcome TEXT,
    settled_at BIGINT,
    repeats BIGINT NOT NULL DEFAULT 0,
    conflicts BIGINT NOT NULL DEFAULT 0,
    UNIQUE (app, key)
);

CREATE INDEX app_deliveries_waiting ON app_deliveries (id) WHERE state = 'waiting';
CREATE INDEX app_deliveries_by_age ON app_deliveries (received_at);

-- Who is on the way to a forge to make an App. Of what they bring back there is only a hash.
CREATE TABLE app_departures (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state TEXT NOT NULL UNIQUE,
    person BIGINT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    forge TEXT NOT NULL,
    url TEXT NOT NULL,
    -- The last part of the address that the forge was told to deliver to.
    hook TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Whether the repositories that an App is installed in become projects by themselves.
ALTER TABLE apps ADD COLUMN follows BIGINT NOT NULL DEFAULT 0;
