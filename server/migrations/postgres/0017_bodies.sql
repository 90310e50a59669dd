-- What a delivery says, apart from what became of it: that is noted by writing a short row, not all of a long one anew.
CREATE TABLE delivery_bodies (
    delivery BIGINT PRIMARY KEY REFERENCES deliveries (id) ON DELETE CASCADE,
    body BYTEA NOT NULL
);

INSERT INTO delivery_bodies (delivery, body) SELECT id, body FROM deliveries;
ALTER TABLE deliveries DROP COLUMN body;
