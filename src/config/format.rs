//! Guesses at a text that is not valid TOML: another format, or a slip in a line.

/// The format that a text most likely has, of those that other gateways are configured in.
pub(super) fn other_than_toml(text: &str) -> Option<&'static str> {
    let significant = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let mut lines = text.lines().filter(significant);
    let first = lines.next()?;
    if first.trim_start().starts_with('{') {
        return Some("JSON");
    }
    if first.trim_end() == "---" || is_yaml_entry(first) {
        return Some("YAML");
    }
    None
}

/// Whether a line begins an entry of a YAML mapping: `listeners:` or `address: x`.
fn is_yaml_entry(line: &str) -> bool {
    let Some((key, value)) = line.split_once(':') else { return false };
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !key.is_empty() && key.bytes().all(is_key) && (value.is_empty() || value.starts_with(' '))
}

/// The remedy for a line that the TOML parser stumbled over, from the parser's words and the line.
pub(super) fn syntax_hint(message: &str, line: &str) -> Option<String> {
    if line.contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}']) {
        return Some("use straight quotes: \"".to_owned());
    }
    if message.contains("duplicate key") {
        return Some(
            "a key or table stands once: put all of it in one place; [[name]] begins another of several tables"
                .to_owned(),
        );
    }
    if message.contains("unclosed") && line.trim_start().starts_with('[') {
        return Some("close as many brackets as are open".to_owned());
    }
    if message.contains("array") {
        return Some("between entries of a list stand commas, and at its end a bracket: ]".to_owned());
    }
    if is_yaml_entry(line.trim()) && !line.split(':').next().is_some_and(|key| key.contains('=')) {
        let (key, value) = line.trim().split_once(':')?;
        return Some(format!("write an equals sign: {key} = {}", value.trim()));
    }
    let (key, value) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))?;
    if message.contains("string") && value.starts_with(['"', '\'']) {
        return Some("close the quote on its line".to_owned());
    }
    let is_bare = !value.is_empty()
        && value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'[]{}=#,".contains(&byte));
    is_bare.then(|| format!("put the value in quotes: {key} = \"{value}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_told_by_their_first_line() {
        let cases = [
            ("{\"listeners\": []}", Some("JSON")),
            ("\n  { }", Some("JSON")),
            ("---\na: 1", Some("YAML")),
            ("# static\nlisteners:\n- address: x", Some("YAML")),
            ("admin: 1", Some("YAML")),
            ("workers = = 3", None),
            ("[io", None),
            ("path = \"a: b\"", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(other_than_toml(text), wanted, "{text:?}");
        }
    }
}
