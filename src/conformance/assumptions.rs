//! The facts of docs/contract.md that VDAB may contradict.

use super::judge::{Eye, Judgement};

/// A fact of the contract that VDAB has not confirmed.
pub struct Assumption {
    pub name: &'static str,
    /// S, V, G or A, as docs/contract.md defines them.
    pub origin: &'static str,
    /// The fact, as the contract has it.
    pub claim: &'static str,
    /// The calls that test it.
    pub how: &'static str,
    /// The variable to set if it does not hold.
    pub variable: &'static str,
    pub(super) judge: fn(&Eye<'_>) -> Judgement,
}

const TOLERATED: &str = "none: both are accepted";
const NAMES: &str = "CVSYNC_API_NAMES";

macro_rules! assumptions {
    ($($name:literal $origin:literal $claim:literal; $how:literal; $variable:expr; $judge:ident)+) => {
        /// All assumptions, in the order of the contract.
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
    "answers" "A" "the API responds with JSON";
        "the first call"; "CVSYNC_API_BASE_URL"; answers
    "key-alone" "S" "the key is enough, no token is needed";
        "the first call; `WWW-Authenticate` of a refusal";
        "CVSYNC_API_KEY, or the three CVSYNC_OAUTH_ variables"; key_alone
    "key-refusal" "G, A" "a wrong key gives 401, one without a subscription 403";
        "not tested: a wrong key could get the right one blocked"; TOLERATED; key_refusal
    "quota" "V" "2,000 calls a minute for each endpoint";
        "`X-RateLimit-Limit`"; "CVSYNC_API_RATE_PER_MINUTE"; quota
    "quota-apart" "V" "each endpoint has a quota of its own";
        "`X-RateLimit-Remaining` of the first detail call"; "CVSYNC_API_RATE_PER_MINUTE"; quota_apart
    "quota-headers" "G" "responses have the quota in `X-RateLimit-` headers";
        "all responses"; TOLERATED; quota_headers
    "over-quota" "G, A" "over quota gives 429, with or without `Retry-After`";
        "not tested: it would use up the quota"; TOLERATED; over_quota
    "errors" "G" "errors are JSON, their message is `moreInformation` or `httpMessage`";
        "an unknown id, a malformed id, a window of six days"; NAMES; errors
    "date" "A" "responses have a `Date` header";
        "all responses"; "none: cvsync uses this machine's and the database's clock, minus a minute; keep both right"; date
    "window-parameters" "V" "`van` and `tot` select a window";
        "a window of 1990 must be empty; if it is not, or is refused, other names are tried"; NAMES; window_parameters
    "time-format" "V" "instants are RFC 3339 in UTC with milliseconds";
        "if a window is refused, other formats are tried"; "CVSYNC_API_TIME_FORMAT"; time_format
    "window-width" "V" "a window may be 5 days wide";
        "the configured width, and narrower ones if it is refused; a window must contain what its halves contain";
        "CVSYNC_WINDOW"; window_width
    "window-wider" "A" "a wider window gives 400";
        "a window of six days"; TOLERATED; window_wider
    "window-ends" "A" "a window contains changes with `van <= t < tot`";
        "not tested: it needs a change exactly at the end of a window"; "none: requests overlap by two seconds"; window_ends
    "paging-parameters" "V" "`vanaf` and `aantal` select a page";
        "pages of two; if they change nothing, other names are tried"; NAMES; paging_parameters
    "paging-offset" "V" "`vanaf` counts results from 0";
        "pages of two at 1 and 2"; "CVSYNC_API_PAGING"; paging_offset
    "page-size" "V" "a page can have 2,000 results";
        "a page of the configured size and the page after it; smaller ones if it is refused";
        "CVSYNC_PAGE_SIZE"; page_size
    "page-default" "A" "a page has 100 results without `aantal`";
        "a page without `aantal`"; "none: cvsync always sends it"; page_default
    "total" "V" "the total in the window is `aantal` or `totaalAantalResultaten`";
        "a page"; "none: cvsync reads until a page is short"; total
    "list-fields" "V" "a list is `resultaten`, and the id of an item `cvId`";
        "a page; other names are found by their content"; NAMES; list_fields
    "list-form" "A" "a list is an array of objects, also if it is empty";
        "all lists"; "none: other forms are accepted if they are unambiguous"; list_form
    "list-status" "V" "an item has a `status`";
        "a page"; "CVSYNC_API_NAMES; none if there is no status: the detail call decides"; list_status
    "garbage-ids" "V" "an id such as `NOT_FOUND` may be listed";
        "a page"; "none: they are parked"; garbage_ids
    "listed-once" "A" "a CV is listed once in a window, at its latest change";
        "a page"; TOLERATED; listed_once
    "order" "A" "the oldest change comes first";
        "a window and its halves"; TOLERATED; order
    "late" "A" "a change is listed some seconds after its time";
        "not tested: it needs a change of your own; see `cvsync_late_arrivals_total`";
        "CVSYNC_SETTLE_LAG, CVSYNC_WINDOW_OVERLAP"; late
    "live-words" "S" "`OPEN` is the status of a live CV";
        "the details of two CVs of each status"; "CVSYNC_API_LIVE_STATUSES"; live_words
    "gone-words" "A" "`VERWIJDERD`, `GESLOTEN` and `AFGESLOTEN` are the statuses of a removed CV";
        "the details of two CVs of each status"; "CVSYNC_API_GONE_STATUSES"; gone_words
    "gone-answer" "A, V" "a removed CV gives 404 or 410, 200 with such a status, or a 4xx that says so";
        "the details of CVs that are listed as removed"; TOLERATED; gone_answer
    "malformed-id" "V" "a malformed id gives 400, `Invalid string syntax`";
        "`NOT_FOUND`"; "none: cvsync never requests them"; malformed_id
    "document-fields" "S" "a document has `cvId`, `status` and `wijzigingsDatum`";
        "the details of listed CVs; other names are found by their content"; NAMES; document_fields
    "search-fields" "V" "`velden` takes at most 5 fields";
        "5 and 6 fields"; "none: `cvsync search` shows the refusal"; search_fields
    "search-page" "V" "a page of search results can have 200";
        "pages of 200 and 201"; "none"; search_page
    "search-values" "V" "several values repeat the parameter";
        "two regions, apart and together"; "none: values are sent unchanged"; search_values
    "search-filters" "A" "other filters have the names of the document's fields, such as `rijbewijzen`";
        "one region with `rijbewijzen=B` and with an unknown filter"; "none: names are sent unchanged"; search_filters
    "reference-lists" "V, A" "the reference lists are at the configured paths";
        "each list"; "CVSYNC_REFERENCE_LISTS"; reference_lists
    "reference-label" "V, A" "the label of a code is `omschrijving`";
        "the lists' first entries"; "CVSYNC_REFERENCE_LABEL_FIELD"; reference_label
    "diplomas" "V" "a keyword finds the ten best matching diplomas";
        "`trefwoord=master`"; TOLERATED; diplomas
}
