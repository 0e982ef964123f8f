-- While clocks disagree, as_of may be later than the source's time was. The span of such values is kept until the clocks agree
-- again: what lies in it is then fetched anew.
create table cvsync.clock_doubt (
    one  boolean     primary key default true check (one),
    van  timestamptz not null,
    tot  timestamptz not null check (van <= tot)
);

comment on table cvsync.clock_doubt is 'values of cv_seen.as_of that were written while clocks disagreed';

-- Whether a stored as_of is later than that of a new answer, and to be believed: one that lies in the future was written under
-- a wrong clock and stands against nothing. The clock may be the database's or, where that is behind, the answer's.
create function cvsync.is_newer(stored timestamptz, answered timestamptz) returns boolean
language sql volatile parallel safe
return stored > answered
   and stored <= greatest(clock_timestamp(), answered) + interval '5 seconds';
