-- A malformed id may be anything, such as an address of a person. Only its form is kept: NOT_FOUND becomes XXX_XXXXX.
with malformed as (
    delete from cvsync.parked_cv
     where cv_id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    returning *
), masked as (
    select distinct on (mask) *
      from malformed,
           lateral (select regexp_replace(
                               regexp_replace(regexp_replace(cv_id, '[a-z]', 'x', 'g'), '[A-Z]', 'X', 'g'),
                               '[0-9]', '#', 'g')) as one (mask)
     order by mask, first_failed_at
)
insert into cvsync.parked_cv (cv_id, error_class, as_of, attempts, first_failed_at, next_attempt_at)
select mask, error_class, as_of, attempts, first_failed_at, next_attempt_at
  from masked;

comment on column cvsync.parked_cv.cv_id is
    'The id of the CV. Of a malformed id only the form, at most 64 characters: x or X for a letter, # for a digit, ? for a character outside ASCII; removed 30 days after its last retry time';
