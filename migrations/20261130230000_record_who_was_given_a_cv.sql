-- Adds an index to cv_change, which holds up writes to it for about a second per million rows.

-- Which client of the mirror was given which CV. The key also makes a repeated write harmless.
create table cvsync.cv_access (
    cv_id  uuid        not null,
    at     timestamptz not null,
    client text        not null,
    fields text[],
    primary key (cv_id, at, client)
);
-- For CVSYNC_ACCESS_RETENTION.
create index cv_access_at on cvsync.cv_access (at);

comment on table cvsync.cv_access is 'Which client of the mirror was given which CV, and when; no content. Rows stay for CVSYNC_ACCESS_RETENTION, also if the CV is deleted';
comment on column cvsync.cv_access.cv_id is 'The CV';
comment on column cvsync.cv_access.at is 'When the mirror answered the request, by the database''s clock';
comment on column cvsync.cv_access.client is 'Name of the client, as in mirror_client; empty for the admin token';
comment on column cvsync.cv_access.fields is 'The fields that a search gave beside the id; null if the client was given the whole document';

-- `cvsync subject` and `cvsync explain` look up the changes of one CV.
create index cv_change_cv_id on cvsync.cv_change (cv_id, seq);
