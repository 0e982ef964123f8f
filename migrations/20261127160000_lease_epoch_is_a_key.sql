-- An epoch that is part of a key is held by `for key share` against a takeover, and not against the holder's own renewal: a write that
-- takes long no longer costs the leader its lease.
create unique index lease_epoch on cvsync.lease (name, epoch);
