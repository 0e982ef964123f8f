-- Who may ask the mirror, beside the admin token.
create table cvsync.mirror_client (
    name         text        primary key check (length(name) between 1 and 100),
    -- SHA-256 of the key. The key is 256 random bits, which nobody can try out: no salt and no slow hash are needed.
    key_hash     bytea       not null unique check (length(key_hash) = 32),
    created_at   timestamptz not null default now(),
    -- To the minute.
    last_used_at timestamptz,
    revoked_at   timestamptz
);
