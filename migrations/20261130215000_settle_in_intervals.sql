-- Windows settle in any order: each adds its span here, and the watermark is the end of the first span without a gap.
-- A version that does not know this table moves the watermark only, and lists again what lies after it.
create table cvsync.covered (
    stream text        not null,
    van    timestamptz not null,
    tot    timestamptz not null,
    primary key (stream, van),
    check (van < tot),
    check (isfinite(van) and isfinite(tot))
);

comment on table cvsync.covered is 'The spans of VDAB''s time after the watermark that are settled; what lies between them is the backlog';
comment on column cvsync.covered.stream is 'As in watermark';
comment on column cvsync.covered.van is 'Start of the span, inclusive';
comment on column cvsync.covered.tot is 'End of the span, exclusive';

create table cvsync.live_edge (
    stream     text        primary key,
    position   timestamptz not null check (isfinite(position)),
    updated_at timestamptz not null default now()
);

comment on table cvsync.live_edge is 'Up to which time of VDAB the live lane has listed; what it left unsettled is in the backlog';
comment on column cvsync.live_edge.stream is 'As in watermark';
comment on column cvsync.live_edge.position is 'VDAB''s time';
comment on column cvsync.live_edge.updated_at is 'When it last moved';

alter table cvsync.sync_window add column lane text check (lane in ('live', 'backlog'));
comment on column cvsync.sync_window.lane is 'live: listed on schedule; backlog: everything else; null: listed by an older version';
