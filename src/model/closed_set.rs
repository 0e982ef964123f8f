//! Enums whose values are words in the database, in metrics and on the page.

/// Declares enums, each value with its word.
macro_rules! closed_set {
    ($($(#[$doc:meta])* $vis:vis $name:ident { $($(#[$about:meta])* $value:ident = $word:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name {
            $($(#[$about])* #[doc = concat!("`", $word, "`")] $value,)+
        }

        impl $name {
            #[allow(dead_code, reason = "not every set is walked through")]
            $vis const ALL: &[Self] = &[$(Self::$value),+];

            #[must_use]
            $vis fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }
    )+};
}

pub(crate) use closed_set;
