-- These times are the ones that people set by hand. 'infinity' is on no calendar, so cvsync could not read it back: it is refused
-- where it is written.
alter table cvsync.watermark add check (isfinite(position)) not valid;
alter table cvsync.cv_seen   add check (isfinite(as_of)) not valid;
alter table cvsync.parked_cv add check (isfinite(next_attempt_at)) not valid;
alter table cvsync.pause     add check (isfinite(until)) not valid;
alter table cvsync.lease     add check (isfinite(expires_at)) not valid;
