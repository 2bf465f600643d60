-- Version 1 of the file (PRAGMA user_version).  Times are milliseconds UTC.
--
-- State codes: 0 ready, 1 ready but charged with a crash (claimed alone), 2 due, 3 leased, 4 done, 5 failed,
-- 6 dropped, 7 tombstone (of a removed record: its id still answers `duplicate`, until `gone`; NULL: no more).  Queries name the states as literals,
-- or the partial indexes would not serve them.

CREATE TABLE message (
  seq INTEGER PRIMARY KEY,              -- its number among all ever accepted: no gaps, and the last row is never deleted
  state INTEGER NOT NULL,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  place INTEGER NOT NULL,               -- order of becoming ready; kept when it is given back
  owner INTEGER,                        -- who holds it, or held it when it ended
  claim INTEGER,                        -- the owner's seq that leased it
  fence INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 0,
  claimed INTEGER,
  promoted INTEGER,                     -- when it became ready, if it was due before
  settled INTEGER NOT NULL DEFAULT 0,   -- the fence that last settled it
  ended INTEGER,
  gone INTEGER,                         -- when the record may be purged
  due INTEGER NOT NULL,
  published INTEGER NOT NULL,
  expires INTEGER,
  retries INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,
  snoozes INTEGER NOT NULL DEFAULT 0,
  cancel INTEGER NOT NULL DEFAULT 0,
  life INTEGER NOT NULL DEFAULT 1,
  max_crashes INTEGER NOT NULL,
  keep INTEGER NOT NULL,
  keep_failed INTEGER NOT NULL,
  keep_result INTEGER NOT NULL,
  dedupe INTEGER NOT NULL,              -- how long from `published` the id answers `duplicate`
  id TEXT NOT NULL,
  task TEXT NOT NULL,
  reason TEXT,
  value BLOB,
  error BLOB,
  erred INTEGER NOT NULL DEFAULT 0,     -- `error` came with the ending, not from an attempt before
  on_end BLOB,
  history BLOB,                         -- transitions that the columns no longer tell
  payload BLOB NOT NULL
);
CREATE UNIQUE INDEX message_id ON message (id);
CREATE INDEX message_ready ON message (queue, priority DESC, place) WHERE state = 0;
CREATE INDEX message_charged ON message (queue, priority DESC, place) WHERE state = 1;
CREATE INDEX message_due ON message (queue, due) WHERE state = 2;
CREATE INDEX message_leased ON message (owner, claim, priority DESC, place) WHERE state = 3;
CREATE INDEX message_gone ON message (gone) WHERE state >= 4;
CREATE INDEX message_expires ON message (expires) WHERE expires IS NOT NULL AND state <= 2;

CREATE TABLE owner (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, or a record would name the wrong one
  name TEXT NOT NULL UNIQUE,
  state INTEGER NOT NULL,               -- 0 live, 1 dead, 2 gone
  since INTEGER NOT NULL,
  expires INTEGER NOT NULL,             -- of a gone owner: when it was buried
  lease INTEGER NOT NULL,               -- how long each renewal lasts
  claim INTEGER NOT NULL DEFAULT -1,    -- its last seq that leased something
  alone INTEGER,                        -- the message it was given alone, if that is still leased
  about TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX owner_expires ON owner (state, expires);

-- The books of audit() beside the rows: one row, written once per transaction that ends something.  (What was accepted
-- is the last `seq`: a serial number costs a publish nothing, a counter here would cost it a page.)
CREATE TABLE book (
  done INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  dropped INTEGER NOT NULL,
  purged INTEGER NOT NULL,              -- ended records that are no longer here
  place INTEGER NOT NULL                -- the last `place`, where the clock was set back behind it
);
INSERT INTO book VALUES (0, 0, 0, 0, 0);

-- Who idles, and where to send the byte that wakes it.  For a queue (queues) or for one ending (message).
CREATE TABLE waiter (
  id INTEGER PRIMARY KEY,
  address TEXT NOT NULL UNIQUE,
  until INTEGER NOT NULL,
  queues TEXT,
  message TEXT
);

CREATE TABLE store (
  key TEXT PRIMARY KEY,
  value BLOB NOT NULL,
  version INTEGER NOT NULL,
  expires INTEGER,
  holder TEXT
) WITHOUT ROWID;
CREATE INDEX store_expires ON store (expires) WHERE expires IS NOT NULL;

CREATE TABLE idx (
  name TEXT NOT NULL,
  member TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (name, member)
) WITHOUT ROWID;
CREATE INDEX idx_at ON idx (name, at, member);
