//! The one table of variables: what `cvsync` reads from its environment, in the order in which people are shown it.

use crate::model::dialect::TIME_FORMAT;

/// What each of our names begins with.
pub(super) const PREFIX: &str = "CVSYNC_";

/// One variable of the environment.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// `CVSYNC_…`.
    pub name: &'static str,
    /// What holds where it is not set; `None` for nothing.
    pub default: Option<&'static str>,
    /// Never shown, and may be given as the path of a file in `NAME_FILE`.
    pub secret: bool,
    /// A valid value, for messages.
    pub example: &'static str,
    /// One line for people.
    pub meaning: &'static str,
}

/// Every variable there is.
pub const VARIABLES: &[Variable] = &[
    secret(
        "CVSYNC_API_KEY",
        "your-client-id",
        "the key that VDAB gave you, sent as X-IBM-Client-Id; required",
    ),
    secret(
        "CVSYNC_DATABASE_URL",
        "postgres://cvsync:password@localhost:5432/cvsync",
        "PostgreSQL 14 or newer, also behind a transaction-pooling PgBouncer; required",
    ),
    setting(
        "CVSYNC_API_BASE_URL",
        "https://api.vdab.be/services/openservices/v1",
        "where the API is; http:// for loopback hosts alone",
    ),
    optional(
        "CVSYNC_API_CA_FILE",
        "/etc/ssl/certs/proxy-ca.pem",
        "an extra root certificate (PEM)",
    ),
    setting(
        "CVSYNC_API_RATE_PER_MINUTE",
        "2000",
        "quota for each endpoint",
    ),
    setting(
        "CVSYNC_API_TIMEOUT",
        "30s",
        "one request, from connect to the last byte",
    ),
    setting(
        "CVSYNC_API_LIVE_STATUSES",
        "OPEN",
        "statuses of CVs that are there, comma-separated",
    ),
    setting(
        "CVSYNC_API_GONE_STATUSES",
        "VERWIJDERD,GESLOTEN,AFGESLOTEN",
        "statuses of CVs that are deleted without a detail call, comma-separated",
    ),
    optional(
        "CVSYNC_API_NAMES",
        "resultaten=results,cvId=id",
        "names that differ at VDAB, as ours=theirs, comma-separated; `cvsync conformance` tells them",
    ),
    setting(
        "CVSYNC_API_TIME_FORMAT",
        TIME_FORMAT,
        "how VDAB takes an instant, in UTC, as strftime has it",
    ),
    setting(
        "CVSYNC_API_PAGING",
        "offset-from-0",
        "what VDAB counts pages by: offset-from-0, offset-from-1, page-from-0 or page-from-1",
    ),
    optional(
        "CVSYNC_OAUTH_TOKEN_URL",
        "https://login.example.com/oauth2/token",
        "where Bearer tokens are asked for; set all three of OAuth, or none",
    ),
    optional("CVSYNC_OAUTH_CLIENT_ID", "cvsync", "OAuth client id"),
    secret(
        "CVSYNC_OAUTH_CLIENT_SECRET",
        "your-client-secret",
        "OAuth client secret",
    ),
    setting(
        "CVSYNC_SYNC_FROM",
        "2015-01-01T00:00:00Z",
        "where the first sync begins",
    ),
    setting(
        "CVSYNC_SCHEDULE",
        "0 */5 * * * *",
        "when a sync starts: cron with seconds",
    ),
    setting(
        "CVSYNC_TIMEZONE",
        "Europe/Brussels",
        "where the hours of the schedules are",
    ),
    setting(
        "CVSYNC_RECONCILE_SCHEDULE",
        "0 30 3 * * *",
        "when the whole source is compared with the database: cron with seconds, or off",
    ),
    setting("CVSYNC_WINDOW", "5d", "widest window asked for"),
    setting(
        "CVSYNC_WINDOW_OVERLAP",
        "1h",
        "how far a sync reaches back behind the watermark",
    ),
    setting(
        "CVSYNC_SETTLE_LAG",
        "60s",
        "how far behind now a window ends: how late a change may become visible",
    ),
    setting(
        "CVSYNC_RELIST",
        "25h",
        "how far back a daily second listing goes, to catch and measure late changes; or off",
    ),
    setting("CVSYNC_PAGE_SIZE", "2000", "ids per bulk page"),
    setting("CVSYNC_WORKERS", "16", "concurrent detail fetches"),
    setting(
        "CVSYNC_CHANNEL_CAPACITY",
        "1024",
        "ids waiting between lister and workers",
    ),
    setting(
        "CVSYNC_RETRY_MAX_ELAPSED",
        "2m",
        "how long one CV is retried within a window before it is parked",
    ),
    optional(
        "CVSYNC_DOCUMENT_EXCLUDE",
        "/natuurlijkPersoon/email,/natuurlijkPersoon/gsm",
        "JSON pointers dropped before storing, comma-separated",
    ),
    setting(
        "CVSYNC_RECHECK_AFTER",
        "30d",
        "documents not confirmed for this long are fetched again with spare quota; or off",
    ),
    setting(
        "CVSYNC_MAX_DELETE_SHARE",
        "0.2",
        "share of the table that may go in a day (and more than 50 rows) before a person is asked; approved deletes do not count",
    ),
    setting(
        "CVSYNC_TOMBSTONE_RETENTION",
        "30d",
        "how long the id of a deleted CV is remembered",
    ),
    setting(
        "CVSYNC_REFERENCE_SCHEDULE",
        "0 0 4 * * 0",
        "when reference data is fetched: cron with seconds, or off",
    ),
    setting(
        "CVSYNC_REFERENCE_LISTS",
        "rijbewijzen,softskills,attesten,jobdomeinen,arbeidsstelsels,arbeidsregimes,arbeidscontracten,arbeidscontractduren,diplomas",
        "reference lists, comma-separated; name=path where VDAB's path is another word",
    ),
    setting(
        "CVSYNC_REFERENCE_LABEL_FIELD",
        "omschrijving",
        "the field of a list's entries that people read",
    ),
    setting(
        "CVSYNC_CHANGE_RETENTION",
        "30d",
        "how long rows of the change feed are kept; longer for a registered consumer that has not read them",
    ),
    setting(
        "CVSYNC_HTTP_ADDR",
        "127.0.0.1:8080",
        "health, metrics, status page; or off",
    ),
    secret(
        "CVSYNC_ADMIN_TOKEN",
        "a-long-random-token-of-your-own",
        "needed for whatever changes or shows personal data over HTTP; at least 20 characters where CVSYNC_HTTP_ADDR is not loopback",
    ),
    secret(
        "CVSYNC_PING_URL",
        "https://hc-ping.com/your-uuid",
        "URL requested (GET) after every successful sync, for a dead man's switch such as Healthchecks",
    ),
    secret(
        "CVSYNC_WEBHOOK_URL",
        "https://partner.example/hooks/cvsync",
        "gets each change of the feed within a second, as signed CloudEvents; http:// for loopback hosts alone",
    ),
    secret(
        "CVSYNC_WEBHOOK_SECRET",
        "whsec_bm90IHRoaXMgYnV0IHJhbmRvbSBieXRlczogMzIgb2YgdGhlbQ==",
        "the key of those signatures: `whsec_` and 24 to 64 random bytes in base64; required with the URL",
    ),
    setting("CVSYNC_LOG", "info", "tracing filter directives"),
    optional(
        "CVSYNC_LOG_FORMAT",
        "json",
        "text or json; where unset, text on a terminal, else json",
    ),
];

/// The variable of this name.
///
/// # Panics
/// If there is none: the names come from our code, never from input.
pub(super) fn variable(name: &str) -> &'static Variable {
    VARIABLES
        .iter()
        .find(|variable| variable.name == name)
        .expect("a name in VARIABLES")
}

/// A variable with a default, which is also its example.
const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default: Some(default),
        secret: false,
        example: default,
        meaning,
    }
}

const fn optional(name: &'static str, example: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default: None,
        secret: false,
        example,
        meaning,
    }
}

const fn secret(name: &'static str, example: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default: None,
        secret: true,
        example,
        meaning,
    }
}

/// The variables that name proxies, in small letters and in capitals.
pub(super) const PROXIES: [(&str, &str); 4] = [
    ("http_proxy", "HTTP_PROXY"),
    ("https_proxy", "HTTPS_PROXY"),
    ("all_proxy", "ALL_PROXY"),
    ("no_proxy", "NO_PROXY"),
];

/// A web server that runs a program by CGI sets it. Then `HTTP_PROXY` is a header of a request, which anybody can send.
pub(super) const CGI: &str = "REQUEST_METHOD";
