-- Nothing after a rewind counts as settled, whichever version of cvsync makes it: older ones move the watermark only.
create function cvsync.rewound() returns trigger
    language plpgsql
    set search_path = pg_catalog
    as $$
begin
    -- Both lanes settle windows at the same time.
    lock table cvsync.covered in share row exclusive mode;
    update cvsync.watermark
       set position   = new.to_position,
           updated_at = now()
     where stream = new.stream
       and position > new.to_position;
    update cvsync.live_edge
       set position   = new.to_position,
           updated_at = now()
     where stream = new.stream
       and position > new.to_position;
    delete from cvsync.covered
     where stream = new.stream
       and van >= new.to_position;
    update cvsync.covered
       set tot = new.to_position
     where stream = new.stream
       and tot > new.to_position;
    return null;
end
$$;

-- Not for rows of the past, such as those of a dump that is loaded into an existing schema.
create trigger rewound after insert on cvsync.watermark_rewind
    for each row when (new.at >= now()) execute function cvsync.rewound();
