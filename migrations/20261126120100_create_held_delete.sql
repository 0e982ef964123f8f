-- Deletes that the brake holds back until a person decides. The CV is still there; as_of is when VDAB said that it is gone.
create table cvsync.held_delete (
    cv_id   uuid        primary key,
    as_of   timestamptz not null,
    held_at timestamptz not null default now()
);

-- How many went within the last day.
create index cv_change_delete_at on cvsync.cv_change (at) where kind = 'delete';
