-- These times are the ones that people and other programs set by hand. cvsync cannot read all times that PostgreSQL can store, so
-- a time outside the years 1970 to 9999 is refused where it is written.
update cvsync.pause set until = null where until >= '10000-01-01';
update cvsync.suppressed_cv set until = null where until >= '10000-01-01';

alter table cvsync.pause         add check (until between '1970-01-01 UTC' and '9999-12-31 UTC') not valid;
alter table cvsync.pause         add check (since between '1970-01-01 UTC' and '9999-12-31 UTC') not valid;
alter table cvsync.suppressed_cv add check (until between '1970-01-01 UTC' and '9999-12-31 UTC') not valid;
alter table cvsync.watermark     add check (position between '1970-01-01 UTC' and '9999-12-31 UTC') not valid;
alter table cvsync.parked_cv     add check (next_attempt_at between '1970-01-01 UTC' and '9999-12-31 UTC') not valid;
alter table cvsync.lease         add check (expires_at between '1970-01-01 UTC' and '9999-12-31 UTC') not valid;
alter table cvsync.feed_consumer add check (updated_at between '1970-01-01 UTC' and '9999-12-31 UTC') not valid;
