//! Text from outside, made safe to show and to log: the only code that decides which characters are hidden.

/// A text on one line of at most `most` characters, without hidden characters.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let begun = line.len();
        if begun > 0 {
            line.push(' ');
        }
        let before = line.len();
        line.extend(word.chars().filter(|c| !is_hidden(*c)));
        if line.len() == before {
            line.truncate(begun);
        }
    }
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => {
            line.truncate(end);
            line.pop();
            line + "…"
        }
    }
}

/// A text of any number of lines, without hidden characters.
#[must_use]
pub fn visible(text: &str) -> String {
    let shown = |c: &char| *c == '\n' || !is_hidden(*c);
    text.chars().filter(shown).collect()
}

/// Whether a character moves the cursor, begins a line, changes the direction of text, or has no width. Such characters make a text
/// look like another one.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // The soft hyphen, and the marks and fillers of single scripts.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}'
            // Spaces without width, marks and overrides of direction, separators of lines and paragraphs, isolates.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Shorthand and music, tags, and the selectors behind them.
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_has_an_end() {
        assert_eq!(one_line("  een\n\ttwee\u{1b}[31m ", 80), "een twee[31m");
        assert_eq!(
            one_line("een\r\ntwee\u{2028}drie\u{85}vier", 80),
            "een twee drie vier"
        );
        assert_eq!(one_line("a \u{200b}\u{ad} b", 80), "a b");
        assert_eq!(one_line("éééé", 4), "éééé");
        assert_eq!(one_line("ééééé", 4), "ééé…");
        assert_eq!(one_line(&"x ".repeat(9_000), 300).chars().count(), 300);
    }

    #[test]
    fn hidden_characters_are_left_out() {
        for c in [
            '\0',
            '\u{7}',
            '\u{1b}',
            '\u{7f}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
        ] {
            assert_eq!(
                one_line(&format!("a{c}b"), 9).replace(' ', ""),
                "ab",
                "{c:?}"
            );
            assert_eq!(visible(&format!("a{c}\nb")), "a\nb", "{c:?}");
        }
        for shown in ["Zoë Müller", "日本語", "العربية", "👩 ½ €", "[31m"] {
            assert_eq!(one_line(shown, 80), shown);
            assert_eq!(visible(shown), shown);
        }
    }
}
