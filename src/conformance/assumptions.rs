//! Each fact of docs/contract.md that a source may contradict.

use super::judge::{Eye, Judgement};

/// Something that the contract takes for granted without VDAB having said so.
pub struct Assumption {
    pub name: &'static str,
    /// S, V, G or A, as docs/contract.md defines them.
    pub origin: &'static str,
    /// What the contract says.
    pub claim: &'static str,
    /// How it is looked at.
    pub how: &'static str,
    /// What to set where it does not hold.
    pub variable: &'static str,
    pub(super) judge: fn(&Eye<'_>) -> Judgement,
}

const TOLERATED: &str = "none: either is taken";
const NAMES: &str = "CVSYNC_API_NAMES";

macro_rules! assumptions {
    ($($name:literal $origin:literal $claim:literal; $how:literal; $variable:expr; $judge:ident)+) => {
        /// All of them.
        pub const ASSUMPTIONS: &[Assumption] = &[$(Assumption {
            name: $name,
            origin: $origin,
            claim: $claim,
            how: $how,
            variable: $variable,
            judge: |eye| eye.$judge(),
        },)+];
    };
}

assumptions! {
    "answers" "A" "the API answers, in JSON";
        "the first call"; "CVSYNC_API_BASE_URL"; answers
    "key-alone" "S" "the key is enough, no token is needed";
        "the first call; `WWW-Authenticate` of a refusal";
        "CVSYNC_API_KEY, or the three CVSYNC_OAUTH_ variables"; key_alone
    "key-refusal" "G, A" "a wrong key gives 401, one without a subscription 403";
        "not: a wrong key on purpose might get the right one blocked"; TOLERATED; key_refusal
    "quota" "V" "2,000 calls a minute for each endpoint";
        "`X-RateLimit-Limit`"; "CVSYNC_API_RATE_PER_MINUTE"; quota
    "quota-apart" "V" "each endpoint has a quota of its own";
        "`X-RateLimit-Remaining` of the first detail call"; "CVSYNC_API_RATE_PER_MINUTE"; quota_apart
    "quota-headers" "G" "answers tell the quota in `X-RateLimit-` headers";
        "all answers"; TOLERATED; quota_headers
    "over-quota" "G, A" "over quota gives 429, with or without `Retry-After`";
        "not: it would use the quota up"; TOLERATED; over_quota
    "errors" "G" "errors are JSON, their message is `moreInformation` or `httpMessage`";
        "an id that never was, a malformed one, a window of six days"; NAMES; errors
    "date" "A" "answers have a `Date` header";
        "all answers"; "none: cvsync uses this machine's and the database's clock, minus a minute; keep both right"; date
    "window-parameters" "V" "a window is asked for with `van` and `tot`";
        "a window of 1990 has to be empty; other names are tried where it is refused or not"; NAMES; window_parameters
    "time-format" "V" "instants are RFC 3339 in UTC with milliseconds";
        "other formats are tried where a window is refused"; "CVSYNC_API_TIME_FORMAT"; time_format
    "window-width" "V" "a window may be 5 days wide";
        "the widest configured one, narrower ones where it is refused; it has to hold what its halves hold";
        "CVSYNC_WINDOW"; window_width
    "window-wider" "A" "a wider window gives 400";
        "one of six days"; TOLERATED; window_wider
    "window-ends" "A" "a window holds changes with `van <= t < tot`";
        "not: it takes a change at the very end of a window"; "none: requests overlap by two seconds"; window_ends
    "paging-parameters" "V" "a page is asked for with `vanaf` and `aantal`";
        "pages of two; other names are tried where they change nothing"; NAMES; paging_parameters
    "paging-offset" "V" "`vanaf` counts results from 0";
        "pages of two at 1 and 2"; "CVSYNC_API_PAGING"; paging_offset
    "page-size" "V" "a page may hold 2,000";
        "a page as large as configured, and what follows it; smaller ones where it is refused";
        "CVSYNC_PAGE_SIZE"; page_size
    "page-default" "A" "a page holds 100 where `aantal` is not given";
        "a page without it"; "none: it is always given"; page_default
    "total" "V" "the total in the window is `aantal` or `totaalAantalResultaten`";
        "a page"; "none: a list is read until a page is short"; total
    "list-fields" "V" "a list is `resultaten`, and the id of an item `cvId`";
        "a page; other names are found by what is in them"; NAMES; list_fields
    "list-form" "A" "a list is an array of objects, also where it is empty";
        "all lists"; "none: other forms are taken where they prove what they say"; list_form
    "list-status" "V" "an item has a `status`";
        "a page"; "CVSYNC_API_NAMES; none where there is no status: the detail decides"; list_status
    "garbage-ids" "V" "an id such as `NOT_FOUND` may be listed";
        "a page"; "none: such are parked"; garbage_ids
    "listed-once" "A" "a CV is listed once in a window, at its latest change";
        "a page"; TOLERATED; listed_once
    "order" "A" "the oldest change comes first";
        "a window and its halves"; TOLERATED; order
    "late" "A" "a change is listed some seconds after its time";
        "not: it takes a change under one's own hands; `cvsync_late_arrivals_total` tells";
        "CVSYNC_SETTLE_LAG, CVSYNC_WINDOW_OVERLAP"; late
    "live-words" "S" "`OPEN` is the status of a CV that is there";
        "the details of two CVs of each status"; "CVSYNC_API_LIVE_STATUSES"; live_words
    "gone-words" "A" "`VERWIJDERD`, `GESLOTEN` and `AFGESLOTEN` are those of a CV that is gone";
        "the details of two CVs of each status"; "CVSYNC_API_GONE_STATUSES"; gone_words
    "gone-answer" "A, V" "a CV that is gone gives 404 or 410, 200 with such a status, or a 4xx that says so";
        "the details of CVs that are listed as gone"; TOLERATED; gone_answer
    "malformed-id" "V" "a malformed id gives 400, `Invalid string syntax`";
        "`NOT_FOUND`"; "none: such are never asked for"; malformed_id
    "document-fields" "S" "a document is led by `cvId`, `status` and `wijzigingsDatum`";
        "the details of listed CVs; other names are found by what is in them"; NAMES; document_fields
    "search-fields" "V" "`velden` takes 5 fields at most";
        "5 and 6 fields"; "none: the refusal is shown"; search_fields
    "search-page" "V" "a page of search results may hold 200";
        "pages of 200 and 201"; "none"; search_page
    "search-values" "V" "several values repeat the parameter";
        "two regions, apart and together"; "none: values are passed on as they are written"; search_values
    "search-filters" "A" "other filters are passed on under the document's words, such as `rijbewijzen`";
        "one region with `rijbewijzen=B` and with an unknown filter"; "none: names are passed on as they are written"; search_filters
    "reference-lists" "V, A" "the reference lists are where they are looked for";
        "each list"; "CVSYNC_REFERENCE_LISTS"; reference_lists
    "reference-label" "V, A" "the label of a code is `omschrijving`";
        "the lists' first entries"; "CVSYNC_REFERENCE_LABEL_FIELD"; reference_label
    "diplomas" "V" "a keyword finds the ten best diplomas";
        "`trefwoord=master`"; TOLERATED; diplomas
}
