//! Facts for clients without the admin token: classes in place of error texts, and no names of instances.

use super::facts::{Facts, Gate, Memory, Pause, Stored, Trouble};

/// Stand in for the names of instances.
const INSTANCE: &str = "another instance";
const RIVAL: &str = "a second one";

impl Facts {
    #[must_use]
    pub(crate) fn public(self) -> Self {
        Self {
            database: self.database.map(Trouble::public),
            stored: self.stored.map(Stored::public),
            pause: self.pause.map(Pause::public),
            leader: self.leader.public(),
            ..self
        }
    }
}

impl Trouble {
    fn public(self) -> Self {
        let what = if self.one_statement {
            "the database did not carry out a statement"
        } else {
            "the database cannot be used"
        };
        Self {
            message: classed(what, &self.class),
            ..self
        }
    }
}

impl Stored {
    fn public(self) -> Self {
        let anonymous = |(_, settings)| (INSTANCE.to_owned(), settings);
        Self {
            leader: self.leader.map(|(_, since)| (INSTANCE.to_owned(), since)),
            rival: self.rival.map(|_| RIVAL.to_owned()),
            outdated: self.outdated.into_iter().map(anonymous).collect(),
            ..self
        }
    }
}

impl Pause {
    fn public(self) -> Self {
        Self {
            begun_by: None,
            ..self
        }
    }
}

impl Memory {
    fn public(self) -> Self {
        let failure = |_| class_of(self.failure_class.as_deref().unwrap_or_default());
        // The name of the job stands before the colon.
        let side_error = |text: String| {
            let job = text.split(": ").next().unwrap_or_default();
            format!("{job}: see the log")
        };
        Self {
            database: self.database.map(Trouble::public),
            key_refused: self.key_refused.map(Gate::of_key),
            source_down: self.source_down.map(Gate::public),
            quota_closed: self.quota_closed.map(Gate::public),
            failure: self.failure.map(failure),
            side_errors: self.side_errors.into_iter().map(side_error).collect(),
            webhook: self
                .webhook
                .map(|_| "the webhook's receiver does not take all changes".to_owned()),
            replica: self
                .replica
                .map(|_| "the mirror's replica cannot be read, or is behind".to_owned()),
            ..self
        }
    }
}

impl Gate {
    fn public(self) -> Self {
        Self {
            message: class_of(&self.class),
            ..self
        }
    }

    fn of_key(self) -> Self {
        let message = if self.is_of_token_server() {
            classed("the OAuth token server refuses the client", &self.class)
                + "; check CVSYNC_OAUTH_CLIENT_ID and CVSYNC_OAUTH_CLIENT_SECRET"
        } else {
            classed("VDAB refuses the key", &self.class)
                + "; check CVSYNC_API_KEY and the subscription of your key to the CV API"
        };
        Self { message, ..self }
    }
}

/// `VDAB refuses the key (error class key_refused)`
fn classed(what: &str, class: &str) -> String {
    format!("{what} ({})", class_of(class))
}

/// A row of an earlier version has no class.
fn class_of(class: &str) -> String {
    match class {
        "" => "error class unknown".to_owned(),
        class => format!("error class {class}"),
    }
}
