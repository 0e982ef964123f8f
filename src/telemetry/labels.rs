//! The values that labels of metrics may have. `docs/metrics.md` says what they mean.

use crate::model::closed_set;

closed_set! {
    /// The end of a window; `outcome` of `cvsync_windows_total`.
    pub WindowOutcome {
        Settled = "settled",
        Relisted = "relisted",
        /// Left to the backlog.
        Left = "left",
        Failed = "failed",
    }

    /// A change of a window while its pages are read; `kind` of `cvsync_page_drift_total`.
    pub PageDrift {
        Grew = "grew",
        Shrank = "shrank",
        Duplicate = "duplicate",
    }

    /// The meaning of a listed id's status; `status` of `cvsync_listed_total`.
    pub ListedStatus {
        Live = "live",
        Gone = "gone",
        Unknown = "unknown",
        InvalidId = "invalid_id",
    }

    /// The result for a listed id; `result` of `cvsync_records_total`.
    pub(crate) RecordResult {
        Inserted = "inserted",
        Updated = "updated",
        Unchanged = "unchanged",
        Deleted = "deleted",
        Skipped = "skipped",
        Superseded = "superseded",
        Parked = "parked",
        Held = "held",
    }

    /// The kind of a committed change; `kind` of `cvsync_apply_delay_seconds`.
    pub ChangeKind {
        Upsert = "upsert",
        Delete = "delete",
    }

    /// The second listing that showed a late change; `horizon` of `cvsync_late_arrivals_total`.
    pub Horizon {
        Overlap = "overlap",
        Relist = "relist",
    }

    /// The stage whose attempt is repeated; `stage` of `cvsync_retries_total`.
    pub RetriedStage {
        List = "list",
        Fetch = "fetch",
        Database = "database",
    }

    /// The reason why no calls are made; `reason` of `cvsync_gate_closed_seconds_total`.
    pub ClosedBy {
        RateLimit = "rate_limit",
        Auth = "auth",
        Outage = "outage",
        Database = "database",
        Paused = "paused",
    }

    /// The end of a record of a CV that the mirror gave; `outcome` of `cvsync_access_records_total`.
    pub(crate) AccessOutcome {
        Written = "written",
        Refused = "refused",
        Lost = "lost",
    }

    /// The end of a request to the webhook; `outcome` of `cvsync_webhook_deliveries_total`.
    pub DeliveryOutcome {
        Delivered = "delivered",
        Refused = "refused",
        Timeout = "timeout",
        Unreachable = "unreachable",
    }

    /// Why a request or a connection was refused; `reason` of `cvsync_http_refused_total`.
    pub(crate) Refused {
        /// The admin token is wrong.
        Token = "token",
        NoToken = "no_token",
        /// The mirror's client has no valid key.
        Key = "key",
        /// The `Host` header has an unknown name.
        Host = "host",
        /// The request comes from a page of another site.
        Site = "site",
        /// The request is malformed, or did not arrive in time.
        Unread = "unread",
        /// The connection made room for another.
        Displaced = "displaced",
        /// The client has too many connections.
        Client = "client",
    }
}
