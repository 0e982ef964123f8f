//! Text from container tools, env files and secret stores: removes what they leave around a value, and refuses
//! characters that a person cannot see.

use crate::model::is_hidden;

/// The text without surrounding byte order mark, spaces, line ends and NUL characters, and without one pair of quotation marks:
/// `docker run --env-file` passes these on.
pub(super) fn bare(text: &str) -> &str {
    let text = trimmed(text);
    unquoted(text).map_or(text, trimmed)
}

/// The text between a pair of quotation marks, if it contains no other.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|mark| {
        let inner = text.strip_prefix(mark)?.strip_suffix(mark)?;
        (!inner.contains(mark)).then_some(inner)
    })
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0' || is_invisible(c))
}

/// Why the text cannot be the intended value, as text that reads on from the name and does not show the value. Items of a list
/// may be on separate lines.
pub(super) fn fault(text: &str, is_list: bool) -> Option<String> {
    let is_break = |c: char| is_list && matches!(c, '\n' | '\r' | '\t');
    let odd = text.chars().find(|c| !is_break(*c) && is_odd(*c));
    if let Some(odd) = odd {
        let kind = match odd {
            '\n' | '\r' => "a line break",
            odd if odd.is_control() => "a control character",
            odd if odd.is_whitespace() => "a space that is not the ordinary one",
            odd if is_invisible(odd) => "an invisible character",
            '\u{fffd}' => "a character that was decoded wrongly",
            _ => "a curly quotation mark",
        };
        return Some(format!(
            "must not contain {kind} (U+{:04X}); type the value again",
            u32::from(odd)
        ));
    }
    is_template(text).then(|| {
        "must not contain a placeholder that was not replaced, such as ${NAME}; set the value itself".to_owned()
    })
}

fn is_odd(c: char) -> bool {
    c.is_control()
        || c.is_whitespace() && c != ' '
        || is_invisible(c)
        || matches!(
            c,
            '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{fffd}'
        )
}

fn is_invisible(c: char) -> bool {
    is_hidden(c) && !c.is_control()
}

/// Whether it is a placeholder of shells, Compose, Kubernetes or templates: `${NAME}`, `${NAME:-x}`, `$(NAME)`, `{{ name }}`,
/// `$NAME`, `<name>`. In a URL, a part can be one.
fn is_template(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_word)
    };
    // In shells, `:-x`, `?x` or `+x` can follow a name.
    let is_filled = |inner: &str| {
        let end = inner.find(|c| !is_word(c)).unwrap_or(inner.len());
        let (name, rest) = inner.split_at(end);
        is_name(name) && (rest.is_empty() || rest.starts_with([':', '-', '?', '+']))
    };
    let between = |start: &str, end: &str| {
        let inner = if text.contains("://") {
            text.split_once(start)
                .and_then(|(_, rest)| rest.split_once(end))
                .map(|(inner, _)| inner)
        } else {
            text.strip_prefix(start)
                .and_then(|rest| rest.strip_suffix(end))
        };
        inner.unwrap_or_default()
    };
    is_filled(between("${", "}"))
        || is_name(between("$(", ")"))
        || !between("{{", "}}").is_empty()
        || text
            .strip_prefix('$')
            .is_some_and(|name| is_name(name) && name.chars().all(|c| !c.is_ascii_lowercase()))
        || text.len() > 2 && text.starts_with('<') && text.ends_with('>')
}

/// Whether a secret is a typical placeholder, such as `changeme`.
pub(super) fn is_filler(secret: &str) -> bool {
    let word: String = secret
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | ' ' | '.'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let is_x = !word.is_empty() && word.chars().all(|c| matches!(c, 'x' | '*'));
    is_x || [
        "changeme",
        "changethis",
        "changeit",
        "replaceme",
        "replacethis",
        "placeholder",
        "fixme",
        "todo",
        "tbd",
        "null",
        "nil",
        "none",
        "undefined",
        "yourkey",
        "yourapikey",
        "yoursecret",
    ]
    .contains(&&*word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surroundings_of_a_value_are_taken_off() {
        for text in [
            "key",
            "key\r\n",
            "\u{feff}key",
            "\u{feff} key \n",
            "\u{a0}key\u{200b}",
            "key\0",
            "\"key\"",
            "'key'\r\n",
            "\" key \"",
            "\u{feff}\"key\"\n",
        ] {
            assert_eq!(bare(text), "key", "{text:?}");
        }
        assert_eq!(bare("\"\""), "");
        for text in ["\"a\",\"b\"", "a\"b", "\""] {
            assert_eq!(bare(text), text);
        }
    }

    #[test]
    fn value_that_is_not_what_a_person_sees_is_refused_and_not_shown() {
        for (text, words) in [
            ("canary\nkey", "a line break (U+000A)"),
            ("canary\r\nkey", "a line break (U+000D)"),
            ("canary\tkey", "a control character (U+0009)"),
            ("c\0a\0n\0", "a control character (U+0000)"),
            ("canary\u{7f}key", "a control character (U+007F)"),
            (
                "canary\u{a0}key",
                "a space that is not the ordinary one (U+00A0)",
            ),
            ("canary\u{200b}key", "an invisible character (U+200B)"),
            ("canary\u{feff}key", "an invisible character (U+FEFF)"),
            ("canary\u{202e}key", "an invisible character (U+202E)"),
            ("\u{201c}canary\u{201d}", "a curly quotation mark (U+201C)"),
            ("canary\u{fffd}", "decoded wrongly (U+FFFD)"),
            ("${canary}", "a placeholder"),
            ("postgres://me:${canary}@db/cv", "a placeholder"),
            ("${canary:-x}", "a placeholder"),
            ("$(canary)", "a placeholder"),
            ("{{ .Values.canary }}", "a placeholder"),
            ("$CVSYNC_API_KEY", "a placeholder"),
            ("<canary>", "a placeholder"),
        ] {
            let told = fault(text, false).unwrap();
            assert!(told.contains(words), "{text:?}: {told}");
            assert!(!told.contains("canary"), "{told}");
        }
        for text in [
            "pa$$word",
            // Generators of passwords use all characters.
            "\"k3J!d9",
            "k3J!d9'",
            "a$(Kq1)z",
            "p${x1}",
            "${x!1}",
            "$1pass",
            "a$b",
            "$1",
            "p{a}",
            "a<b>c",
            "it's",
            "é",
            "0 */5 * * * *",
        ] {
            assert_eq!(fault(text, false), None, "{text}");
        }
        assert_eq!(fault("OPEN,\n\"ACTIEF\"", true), None);
        assert!(fault("OPEN,\u{a0}ACTIEF", true).is_some());
    }

    #[test]
    fn words_that_stand_for_a_secret_are_known() {
        for word in [
            "changeme",
            "Change-Me",
            "CHANGE_ME",
            "xxx",
            "***",
            "null",
            "your-api-key",
        ] {
            assert!(is_filler(word), "{word}");
        }
        for word in ["", "test-key", "k", "your-client-id", "x1"] {
            assert!(!is_filler(word), "{word}");
        }
    }
}
