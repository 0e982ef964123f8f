-- Calls that a tool wants to make out of the quota of the instance that leads, in small slices: it asks, the leader takes them out of
-- its own pace and grants them, the tool makes them at once. A row lives for a second or two; nothing is lost with it.
create unlogged table cvsync.quota_loan (
    id         bigint      generated always as identity primary key,
    -- Each operation of the API has a quota of its own.
    operation  text        not null,
    calls      integer     not null check (calls between 1 and 50),
    asked_at   timestamptz not null default clock_timestamp(),
    granted_at timestamptz
);
