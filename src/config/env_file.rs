//! Files of environment variables (`--env-file`): the form that Docker, systemd and shells share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::env::Env;
use super::file;
use super::problem::{Problem, Problems};

/// Maximum wait for the content: a named pipe may have no writer, and a network file system may hang.
const PATIENCE: Duration = Duration::from_secs(10);

const OPTION: &str = "--env-file";

impl Env {
    /// This environment with the variables of a file. A variable of the process wins over the file, unless it is empty.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is not `NAME=value`. Values are never shown.
    pub fn with_file(self, path: &Path) -> Result<Self, Problems> {
        let shown = path.display();
        let refuse =
            |what: String| Problem::named(OPTION, format!("names the file {shown}, which {what}"));
        let text = read(path).map_err(|what| Problems(vec![refuse(what)]))?;
        let pairs = pairs(&text).map_err(|lines| {
            Problems(
                lines
                    .into_iter()
                    .map(|what| refuse(format!("has a problem in {what}")))
                    .collect(),
            )
        })?;
        Ok(self.over(pairs))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let (path, (send, receive)) = (path.to_owned(), mpsc::channel());
    thread::spawn(move || send.send(file::bytes(&path)));
    let bytes = receive
        .recv_timeout(PATIENCE)
        .map_err(|_| format!("gave no content within {} s", PATIENCE.as_secs()))??;
    file::refuse_utf16(&bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text; save it as UTF-8")?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The variables, or one problem for each invalid line, which begins with the number of the line.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut pairs = BTreeMap::new();
    let mut first_lines = BTreeMap::new();
    let mut problems = Vec::new();
    for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        match pair(line) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if let Some(first) = first_lines.insert(name, at) {
                    problems.push(format!(
                        "line {at}: {name} is already set in line {first}; remove one of them"
                    ));
                }
                pairs.insert(name.to_owned(), value);
            }
            Err(what) => problems.push(format!("line {at}: {what}")),
        }
    }
    if problems.is_empty() {
        Ok(pairs)
    } else {
        Err(problems)
    }
}

/// `NAME=value`, with or without `export` and quotation marks; `None` for an empty line or a comment.
fn pair(line: &str) -> Result<Option<(&str, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return Ok(None);
    }
    let bare = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .unwrap_or(line);
    let (name, value) = bare.split_once('=').ok_or("it must be NAME=value")?;
    let name = name.trim();
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name =
        name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit());
    if !is_name {
        return Err("the name before = must consist of letters, digits and _");
    }
    value_of(value.trim()).map(|value| Some((name, value)))
}

/// The value without quotation marks and without a comment after it.
fn value_of(text: &str) -> Result<String, &'static str> {
    let Some(mark) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let comment = text
            .match_indices('#')
            .find(|(at, _)| text[..*at].is_empty() || text[..*at].ends_with(char::is_whitespace));
        let end = comment.map_or(text.len(), |(at, _)| at);
        return Ok(text[..end].trim_end().to_owned());
    };
    let mut value = String::new();
    let mut chars = text[1..].chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == mark => {
                let rest = chars.as_str().trim_start();
                if rest.is_empty() || rest.starts_with('#') {
                    return Ok(value);
                }
                return Err("there is text after the closing quotation mark");
            }
            '\\' if mark == '"' => match chars.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            c => value.push(c),
        }
    }
    Err("the closing quotation mark is missing")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_pairs(text: &str) -> Result<Vec<(String, String)>, Vec<String>> {
        Ok(pairs(text)?.into_iter().collect())
    }

    #[test]
    fn lines_are_read_as_shells_and_containers_read_them() {
        for (line, value) in [
            ("A=b", "b"),
            ("  A = b \r", "b"),
            ("export A=b", "b"),
            ("export\tA='b'", "b"),
            ("A=", ""),
            ("A=\"\"", ""),
            ("A=b=c", "b=c"),
            ("A=\"b # c\" # comment", "b # c"),
            ("A='b\\n\"c'", "b\\n\"c"),
            (r#"A="b\"\\\$c""#, "b\"\\$c"),
            ("A=b#c", "b#c"),
            ("A=b # comment", "b"),
            ("A=# comment", ""),
            ("A=0 */5 * * * *", "0 */5 * * * *"),
            ("A=é", "é"),
        ] {
            let expected = vec![("A".to_owned(), value.to_owned())];
            assert_eq!(read_pairs(line), Ok(expected), "{line}");
        }
        assert_eq!(read_pairs("\n# comment\n; comment\r\n  \n"), Ok(Vec::new()));
        let pairs = read_pairs("exported=1\nB=2\r\nC=3").unwrap();
        assert_eq!(pairs.len(), 3);
    }

    #[test]
    fn each_invalid_line_is_named_without_its_value() {
        let problems =
            read_pairs("A\n1A=canary\nA-B=canary\nA='canary\nA=\"c\"anary\nB=1\n=canary\nB=canary")
                .unwrap_err();
        let starts: Vec<_> = problems
            .iter()
            .map(|it| it.split(':').next().unwrap())
            .collect();
        let lines = [
            "line 1", "line 2", "line 3", "line 4", "line 5", "line 7", "line 8",
        ];
        assert_eq!(starts, lines);
        assert!(
            problems[6].contains("B is already set in line 6"),
            "{problems:?}"
        );
        assert!(!problems.concat().contains("canary"), "{problems:?}");
    }

    #[test]
    fn a_variable_of_the_process_wins_unless_it_is_empty() {
        let folder = std::env::temp_dir().join(format!("cvsync-env-{}", std::process::id()));
        fs::write(
            &folder,
            "\u{feff}CVSYNC_WORKERS=3\r\nCVSYNC_LOG=warn\r\nOTHER=1\r\n",
        )
        .unwrap();
        let env = Env::new([("CVSYNC_WORKERS", ""), ("CVSYNC_LOG", "debug")]);
        let env = env.with_file(&folder).unwrap();
        fs::remove_file(&folder).unwrap();
        assert_eq!(
            env.get("CVSYNC_WORKERS").ok().flatten().as_deref(),
            Some("3")
        );
        assert_eq!(
            env.get("CVSYNC_LOG").ok().flatten().as_deref(),
            Some("debug")
        );
        assert!(!env.sets("OTHER"));
    }

    #[test]
    fn an_unreadable_file_is_named_with_the_reason() {
        for path in ["/nonexistent", "/", "/dev/zero"] {
            let problems = Env::default()
                .with_file(path.as_ref())
                .unwrap_err()
                .to_string();
            assert!(
                problems.contains(&format!("--env-file names the file {path}, which ")),
                "{problems}"
            );
        }
    }
}
