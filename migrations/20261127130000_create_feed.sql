-- Who reads the change feed, and how far each has come. A consumer registers by adding its row and moves it on once it has dealt
-- with what it read: rows of cv_change that it has not passed are kept for it, however old they are.
create table cvsync.feed_consumer (
    -- It becomes a label of a metric.
    name       text        primary key check (name ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
    -- The last change that it has dealt with.
    seq        bigint      not null check (seq >= 0),
    updated_at timestamptz not null default now()
);

comment on table cvsync.feed_consumer is 'Readers of cv_change and how far each has come; rows that one of them has not passed are kept';

create function cvsync.feed_consumer_moved() returns trigger
    language plpgsql
    as $$
begin
    new.updated_at := clock_timestamp();
    return new;
end
$$;

create trigger moved before update on cvsync.feed_consumer
    for each row execute function cvsync.feed_consumer_moved();

-- What is no longer in the feed: everything up to removed_seq. A reader whose place is before it has missed changes.
create table cvsync.feed (
    one         boolean primary key default true check (one),
    removed_seq bigint  not null default 0
);

insert into cvsync.feed default values;

comment on column cvsync.feed.removed_seq is 'Changes up to this number were removed; a reader that had not read them has to read the table cv anew';

-- For logical replication (deploy/replication). Where this role may not create them, deploy/replication/publisher.sql does. The
-- server complains of a wal_level that is too low, which matters only to those who replicate.
do $$
declare
    level text := current_setting('client_min_messages');
    data  text := 'cvsync.cv';
begin
    if to_regclass('cvsync.reference_code') is not null then
        data := data || ', cvsync.reference_code';
    end if;
    perform set_config('client_min_messages', 'error', true);
    begin
        execute 'create publication cvsync_cv for table ' || data;
        -- What is removed from the feed in the course of time stays with those who have it.
        create publication cvsync_feed for table cvsync.cv_change with (publish = 'insert');
    exception
        when insufficient_privilege or duplicate_object then
            perform set_config('client_min_messages', level, true);
            raise notice 'the publications cvsync_cv and cvsync_feed were not created: %', sqlerrm;
    end;
    perform set_config('client_min_messages', level, true);
end
$$;
