-- What a delivery says, apart from what became of it: that is noted by writing a short row, not all of a long one anew.
CREATE TABLE delivery_bodies (
    delivery INTEGER PRIMARY KEY REFERENCES deliveries (id) ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;

INSERT INTO delivery_bodies (delivery, body) SELECT id, body FROM deliveries;
ALTER TABLE deliveries DROP COLUMN body;
