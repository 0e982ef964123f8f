//! What the documents say is what the code does.

use cvsync::config::VARIABLES;

const README: &str = include_str!("../../README.md");

#[test]
fn the_readme_lists_every_variable_as_it_is() {
    let mut table = "| variable | default | meaning |\n| --- | --- | --- |\n".to_owned();
    for variable in VARIABLES {
        let secret = if variable.secret { " (secret)" } else { "" };
        let default = variable
            .default
            .map_or("none".to_owned(), |default| format!("`{default}`"));
        let row = format!(
            "| `{}`{secret} | {default} | {} |\n",
            variable.name, variable.meaning
        );
        table.push_str(&row);
    }
    assert!(
        README.contains(&table),
        "put this table into the README:\n{table}"
    );
}
