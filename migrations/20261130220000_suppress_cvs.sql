-- CVs that must not be stored, whatever VDAB lists.
--
-- Writers of CVs take `lock table … in row share mode` on this table first, and whoever suppresses takes it in exclusive mode. So no
-- response that is under way can store a CV after its suppression has committed.
create table cvsync.suppressed_cv (
    id      bigint      generated always as identity primary key,
    cv_id   uuid        unique,
    cv_hash bytea       unique,
    reason  text        not null check (reason in ('objection', 'erasure', 'other')),
    since   timestamptz not null default now(),
    until   timestamptz check (isfinite(until)),
    check (num_nonnulls(cv_id, cv_hash) = 1)
);

create index suppressed_cv_until on cvsync.suppressed_cv (until) where until is not null;

comment on table cvsync.suppressed_cv is 'CVs that must not be stored, whatever VDAB lists; see cvsync suppressed';
comment on column cvsync.suppressed_cv.id is 'Number of the suppression';
comment on column cvsync.suppressed_cv.cv_id is 'The CV; null if it was suppressed with --hashed';
comment on column cvsync.suppressed_cv.cv_hash is
    'SHA-256 of the key in suppression_key followed by the id; null unless the CV was suppressed with --hashed';
comment on column cvsync.suppressed_cv.reason is 'objection, erasure or other';
comment on column cvsync.suppressed_cv.since is 'When the CV was suppressed';
comment on column cvsync.suppressed_cv.until is
    'When the suppression ends, by the database''s clock; null if it never ends by itself. cvsync then fetches the CV';

-- Without the key, nobody can test whether a known id is suppressed.
create table cvsync.suppression_key (
    one boolean primary key default true check (one),
    key bytea   not null
);

insert into cvsync.suppression_key (key)
values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

comment on table cvsync.suppression_key is 'One row: the key of the hashes in suppressed_cv. Whoever reads it can test ids against them';
comment on column cvsync.suppression_key.one is 'Always true: the table has one row';
comment on column cvsync.suppression_key.key is 'Random; never changes, because the hashes could not be compared any more';

alter table cvsync.cv_seen add column withheld text;
-- Not checked against existing rows, which have none.
alter table cvsync.cv_seen
    add constraint cv_seen_withheld check (withheld in ('suppressed', 'filtered')) not valid;

comment on column cvsync.cv_seen.withheld is
    'Why cvsync does not store this CV: suppressed, or filtered (it does not match CVSYNC_KEEP); null otherwise';
