-- CVSYNC_KEEP: only CVs with certain terms are stored. The terms are those of cvsync.codes, which search uses too.

-- Whether a document has at least one of `terms` of each of their kinds. A term is kind:code.
create function cvsync.keeps(document jsonb, terms text[]) returns boolean
    language sql immutable parallel safe
    as $$
    select not exists (
        select from (select cvsync.codes(document) as codes offset 0) as found,
                    unnest(terms) as term
         group by split_part(term, ':', 1)
        having not bool_or(term = any (codes)))
$$;

comment on function cvsync.keeps(jsonb, text[]) is
    'Whether a document matches terms of CVSYNC_KEEP: one of each kind. The codes are those of kandidaat.codes';

-- Shapes that stored documents may have. With more than one row, the leader brings documents into the shape of the newest row.
create table cvsync.stored_shape (
    id      bigint      generated always as identity primary key,
    exclude text[]      not null,
    keep    text[]      not null,
    since   timestamptz not null default now()
);

comment on table cvsync.stored_shape is
    'Settings under which stored documents were written. With more than one row, documents are being brought into the newest shape';
comment on column cvsync.stored_shape.id is 'Number of the shape; the greatest is the current one';
comment on column cvsync.stored_shape.exclude is 'CVSYNC_DOCUMENT_EXCLUDE, sorted';
comment on column cvsync.stored_shape.keep is 'CVSYNC_KEEP, sorted';
comment on column cvsync.stored_shape.since is 'When a leader first had these settings';

insert into cvsync.stored_shape (exclude, keep)
select coalesce(string_to_array(value, ','), '{}'), '{}'
  from cvsync.leader_setting
 where name = 'CVSYNC_DOCUMENT_EXCLUDE';

-- How far the leader is with that.
create table cvsync.refit (
    one          boolean     primary key default true check (one),
    stage        text        not null check (stage in ('counting', 'pruning', 'fetching_filtered', 'fetching_stored')),
    after        uuid,
    examined     bigint      not null default 0,
    total        bigint      not null,
    not_matching bigint      not null default 0,
    request      bigint,
    started_at   timestamptz not null default now()
);

comment on table cvsync.refit is 'One row while the leader brings stored documents into the newest stored_shape, otherwise none';
comment on column cvsync.refit.one is 'Always true: the table has at most one row';
comment on column cvsync.refit.stage is
    'counting: CVs that do not match CVSYNC_KEEP; pruning: CVs and fields are deleted; fetching_filtered, fetching_stored: CVs are fetched again';
comment on column cvsync.refit.after is 'The stage has examined the CVs up to this id; null at its start';
comment on column cvsync.refit.examined is 'CVs that the stage has examined';
comment on column cvsync.refit.total is 'CVs that the stage examines; an estimate for large tables';
comment on column cvsync.refit.not_matching is 'Stored CVs that do not match CVSYNC_KEEP and are not deleted or held yet';
comment on column cvsync.refit.request is 'The row of run_request that fetches CVs now; null if none does';
comment on column cvsync.refit.started_at is 'When the stage started';
