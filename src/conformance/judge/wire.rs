//! Responses in general: key, quota, errors, clock.

use super::Judgement::{self, CannotTell, Differs, Holds, Tolerated};
use super::{Eye, differs, setting};
use crate::vdab::Operation;

impl Eye<'_> {
    pub(in crate::conformance) fn answers(&self) -> Judgement {
        match &self.seen.trouble {
            Some(trouble) if trouble.key => Holds("it responds, and refuses the key".to_owned()),
            Some(trouble) => {
                let set = trouble.variables.iter();
                let set = set.map(|variable| (setting(variable, None), false));
                Differs(trouble.what.clone(), set.collect())
            }
            None => {
                let types: Vec<_> = self.seen.content_types.iter().cloned().collect();
                match &types[..] {
                    [one] if one == "application/json" => Holds(one.clone()),
                    _ => Tolerated(format!("content type {}", types.join(", "))),
                }
            }
        }
    }

    pub(in crate::conformance) fn key_alone(&self) -> Judgement {
        let is_set = self.source.api.oauth.is_some();
        match &self.seen.trouble {
            Some(trouble) if trouble.key => {
                let set = trouble.variables.iter();
                let set = set.map(|variable| (setting(variable, None), false));
                Differs(trouble.what.clone(), set.collect())
            }
            Some(_) => CannotTell("the API does not respond".to_owned()),
            None if is_set => CannotTell("a token is configured and was sent".to_owned()),
            None => Holds("the key was accepted".to_owned()),
        }
    }

    fn limit(&self) -> Option<u64> {
        self.seen
            .quota
            .values()
            .filter_map(|quota| quota.limit)
            .min()
    }

    /// Whether the first detail call continued from the quota that the bulk call before it had left. Others, such as the daemon, may
    /// use the key at the same time.
    fn is_shared(&self) -> Option<bool> {
        let detail = self.seen.quota.get(&Operation::Detail)?;
        let (left, before) = (detail.first_remaining?, detail.left_before?);
        if detail.limit?.saturating_sub(left) <= 2 || before.abs_diff(left) > 200 {
            return Some(false);
        }
        (1..=3)
            .contains(&before.saturating_sub(left))
            .then_some(true)
    }

    /// The quota to set: a shared one leaves a part for the other endpoints.
    fn rate(&self) -> Option<(u64, bool)> {
        let limit = self.limit()?;
        let rate = match self.is_shared() {
            Some(true) => limit - limit / 10,
            _ => limit,
        };
        Some((
            rate,
            u64::from(self.source.api.rate_per_minute.get()) <= rate,
        ))
    }

    pub(in crate::conformance) fn quota(&self) -> Judgement {
        let Some((limit, (rate, is_set))) = self.limit().zip(self.rate()) else {
            return CannotTell("the responses do not contain it; ask VDAB".to_owned());
        };
        let seen = format!("{limit} calls");
        if limit == 2_000 && is_set {
            return Holds(seen);
        }
        if limit > 2_000 && is_set && u64::from(self.source.api.rate_per_minute.get()) < rate {
            return Tolerated(format!(
                "{seen}; set CVSYNC_API_RATE_PER_MINUTE={rate} to use them all"
            ));
        }
        let rate = setting("CVSYNC_API_RATE_PER_MINUTE", rate.to_string());
        differs(seen, rate, is_set)
    }

    pub(in crate::conformance) fn quota_apart(&self) -> Judgement {
        let Some((rate, is_set)) = self.rate() else {
            return CannotTell("the responses do not contain it".to_owned());
        };
        match self.is_shared() {
            None => CannotTell("another client may use the same key".to_owned()),
            Some(false) => Holds("bulk calls did not count as detail calls".to_owned()),
            Some(true) => differs(
                "bulk calls counted as detail calls",
                setting("CVSYNC_API_RATE_PER_MINUTE", rate.to_string()),
                is_set,
            ),
        }
    }

    pub(in crate::conformance) fn quota_headers(&self) -> Judgement {
        if self.limit().is_some() {
            Holds("they have".to_owned())
        } else {
            Tolerated(
                "without these headers, only CVSYNC_API_RATE_PER_MINUTE limits the rate".to_owned(),
            )
        }
    }

    pub(in crate::conformance) fn errors(&self) -> Judgement {
        match (&self.seen.error, self.seen.error_page) {
            (Some(error), _) => {
                let fields = error.body.fields().into_iter().flatten();
                let fields: Vec<_> = fields.map(|(name, _)| name.as_str()).collect();
                let of_gateway = ["moreInformation", "httpMessage"];
                if of_gateway.iter().any(|name| fields.contains(name)) {
                    return self.named("moreInformation", &fields);
                }
                let found = self.seen.dialect.names.of("moreInformation");
                if !fields.contains(&found) {
                    return Tolerated(format!(
                        "{}, but no message: only the list shows which CVs are gone",
                        fields.join(", ")
                    ));
                }
                self.named("moreInformation", &fields)
            }
            (None, Some(status)) => Tolerated(format!(
                "status {status} without JSON proves nothing: only the list shows which CVs are gone"
            )),
            (None, None) => CannotTell("no error was received".to_owned()),
        }
    }

    /// Like [`names`](Self::names), with the fields of the response.
    fn named(&self, ours: &'static str, fields: &[&str]) -> Judgement {
        let seen = format!("has {}", fields.join(", "));
        match self.names(&[ours]) {
            Differs(_, set) => Differs(seen, set),
            _ => Holds(seen),
        }
    }

    pub(in crate::conformance) fn date(&self) -> Judgement {
        match (self.seen.dated, self.seen.ahead) {
            (Some(true), Some(ahead)) => Holds(format!(
                "this machine's clock is {} s {} it",
                ahead.abs(),
                if ahead < 0 { "behind" } else { "ahead of" }
            )),
            _ => Tolerated("some have no date: this machine's clock must be right".to_owned()),
        }
    }
}
