//! The table of all variables, in the order in which they are shown.

use crate::model::dialect::TIME_FORMAT;

/// The prefix of all names.
pub(super) const PREFIX: &str = "CVSYNC_";

#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    /// The value if it is not set; `None` without one.
    pub default: Option<&'static str>,
    /// Whether it is never shown, and can be read from the file in `NAME_FILE`.
    pub secret: bool,
    /// A valid value, for error messages.
    pub example: &'static str,
    pub meaning: &'static str,
}

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
    secret(
        "CVSYNC_DATABASE_READ_URL",
        "postgres://cvsync:password@localhost:5433/cvsync",
        "a physical standby of that server, from which the mirror reads; unset, it reads from CVSYNC_DATABASE_URL",
    ),
    setting(
        "CVSYNC_API_BASE_URL",
        "https://api.vdab.be/services/openservices/v1",
        "URL of the API; only loopback hosts may have http://",
    ),
    optional(
        "CVSYNC_API_CA_FILE",
        "/etc/ssl/certs/proxy-ca.pem",
        "path of an extra root certificate (PEM)",
    ),
    setting(
        "CVSYNC_API_RATE_PER_MINUTE",
        "2000",
        "VDAB's quota: calls per minute to each endpoint",
    ),
    setting(
        "CVSYNC_API_TIMEOUT",
        "30s",
        "timeout of one request, from connect to the last byte",
    ),
    setting(
        "CVSYNC_API_LIVE_STATUSES",
        "OPEN",
        "statuses of live CVs, comma-separated",
    ),
    setting(
        "CVSYNC_API_GONE_STATUSES",
        "VERWIJDERD,GESLOTEN,AFGESLOTEN",
        "statuses of removed CVs, which are deleted without a detail call, comma-separated",
    ),
    optional(
        "CVSYNC_API_NAMES",
        "resultaten=results,cvId=id",
        "names that VDAB uses instead of the contract's, as ours=theirs, comma-separated; `cvsync conformance` finds them",
    ),
    setting(
        "CVSYNC_API_TIME_FORMAT",
        TIME_FORMAT,
        "strftime format of times that are sent to VDAB, in UTC",
    ),
    setting(
        "CVSYNC_API_PAGING",
        "offset-from-0",
        "how VDAB counts pages: offset-from-0, offset-from-1, page-from-0 or page-from-1",
    ),
    optional(
        "CVSYNC_OAUTH_TOKEN_URL",
        "https://login.example.com/oauth2/token",
        "URL that issues Bearer tokens; set all three CVSYNC_OAUTH_ variables or none",
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
        "the first sync fetches changes from this time on",
    ),
    setting(
        "CVSYNC_SCHEDULE",
        "0 */5 * * * *",
        "when a sync starts: cron with seconds",
    ),
    setting(
        "CVSYNC_TIMEZONE",
        "Europe/Brussels",
        "time zone of the schedules",
    ),
    setting(
        "CVSYNC_RECONCILE_SCHEDULE",
        "0 30 3 * * *",
        "when everything that VDAB lists is compared with the database: cron with seconds, or off",
    ),
    setting(
        "CVSYNC_WINDOW",
        "5d",
        "widest window that is listed at once",
    ),
    setting(
        "CVSYNC_WINDOW_OVERLAP",
        "1h",
        "how far before the live edge each sync lists again",
    ),
    setting(
        "CVSYNC_SETTLE_LAG",
        "60s",
        "how far before VDAB's time a window ends: how late VDAB may list a change",
    ),
    setting(
        "CVSYNC_RELIST",
        "25h",
        "how far back windows are listed again once a day, to catch and measure late changes; or off",
    ),
    setting("CVSYNC_PAGE_SIZE", "2000", "ids per bulk page"),
    setting("CVSYNC_WORKERS", "16", "concurrent detail fetches"),
    setting(
        "CVSYNC_CHANNEL_CAPACITY",
        "1024",
        "ids that may wait between listing and fetching; a window with more new changes is left to the backlog",
    ),
    setting(
        "CVSYNC_RETRY_MAX_ELAPSED",
        "2m",
        "how long one CV is retried within a window before it is parked",
    ),
    optional(
        "CVSYNC_DOCUMENT_EXCLUDE",
        "/natuurlijkPersoon/email,/natuurlijkPersoon/gsm",
        "JSON pointers of fields that are not stored, comma-separated",
    ),
    optional(
        "CVSYNC_KEEP",
        "regio:BE231A,regio:BE231B,studie:MAE5AHH",
        "terms of `kandidaat.codes`, comma-separated; only CVs with at least one term of each kind are stored",
    ),
    setting(
        "CVSYNC_RECHECK_AFTER",
        "30d",
        "documents not confirmed for this long are fetched again with spare quota; or off",
    ),
    setting(
        "CVSYNC_MAX_DELETE_SHARE",
        "0.2",
        "deletes wait for approval once they exceed this share of the table, and 50 rows, in a day; approved deletes do not count",
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
        "rijbewijzen,softskills,attesten,jobdomeinen,sjablonen,competenties,arbeidsstelsels,arbeidsregimes,arbeidscontracten,arbeidscontractduren,diplomas",
        "reference lists, comma-separated; name=path where VDAB's path differs from the name; or a full URL on the API's host",
    ),
    setting(
        "CVSYNC_REFERENCE_LABEL_FIELD",
        "omschrijving",
        "the field of a list's entries that contains the label",
    ),
    setting(
        "CVSYNC_CHANGE_RETENTION",
        "30d",
        "how long rows of the change feed are kept; longer for a registered consumer that has not read them",
    ),
    setting(
        "CVSYNC_ACCESS_RETENTION",
        "365d",
        "how long the table cv_access remembers which client of the mirror was given which CV; off records nothing",
    ),
    setting(
        "CVSYNC_HTTP_ADDR",
        "127.0.0.1:8080",
        "address of health checks, metrics and status page; or off",
    ),
    optional(
        "CVSYNC_HTTP_HOSTS",
        "cvsync.example",
        "names under which the page, the status and actions answer, besides localhost and addresses, comma-separated; probes, metrics and mirror calls with a key answer under any name",
    ),
    secret(
        "CVSYNC_ADMIN_TOKEN",
        "a-long-random-token-of-your-own",
        "required over HTTP to change anything or read personal data; at least 20 characters unless CVSYNC_HTTP_ADDR is loopback",
    ),
    setting(
        "CVSYNC_MIRROR_CREDENTIALS",
        "key,token",
        "what opens the mirror: key (keys of clients only) or key,token (also the admin token)",
    ),
    secret(
        "CVSYNC_PING_URL",
        "https://hc-ping.com/your-uuid",
        "URL requested (GET) after every successful sync, for a dead man's switch such as Healthchecks",
    ),
    secret(
        "CVSYNC_WEBHOOK_URL",
        "https://partner.example/hooks/cvsync",
        "receives each change of the feed within a second, as signed CloudEvents; only loopback hosts may have http://",
    ),
    secret(
        "CVSYNC_WEBHOOK_SECRET",
        "whsec_bm90IHRoaXMgYnV0IHJhbmRvbSBieXRlczogMzIgb2YgdGhlbQ==",
        "signing key of the webhook: `whsec_` and 24 to 64 random bytes in base64; required with the URL",
    ),
    setting(
        "CVSYNC_LOG",
        "info",
        "log filter: tracing directives such as info or warn,cvsync=debug",
    ),
    optional(
        "CVSYNC_LOG_FORMAT",
        "json",
        "text or json; if unset, text on a terminal, otherwise json",
    ),
];

/// # Panics
/// If the name is unknown. Names come from the code, never from input.
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

/// The variables of proxies, in lower case and in upper case.
pub(super) const PROXIES: [(&str, &str); 4] = [
    ("http_proxy", "HTTP_PROXY"),
    ("https_proxy", "HTTPS_PROXY"),
    ("all_proxy", "ALL_PROXY"),
    ("no_proxy", "NO_PROXY"),
];

/// A web server sets it for a CGI program. Then `HTTP_PROXY` is a request header, which anyone can send.
pub(super) const CGI: &str = "REQUEST_METHOD";
