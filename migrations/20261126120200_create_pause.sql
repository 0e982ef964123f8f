-- One row while all instances are to make no runs.
create table cvsync.pause (
    only_row boolean     primary key default true check (only_row),
    reason   text        not null,
    since    timestamptz not null default now(),
    -- Ends by itself then.
    until    timestamptz
);

-- Each time that a person moved the watermark back.
create table cvsync.watermark_rewind (
    at            timestamptz primary key default clock_timestamp(),
    stream        text        not null,
    from_position timestamptz not null,
    to_position   timestamptz not null check (to_position < from_position)
);
