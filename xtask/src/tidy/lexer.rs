//! Just enough of Rust's lexical structure to tell code from comments and literals.

/// The source with comments and the contents of string and character literals replaced by spaces;
/// line breaks stay, so line numbers do.
pub(super) fn blank_literals(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    let mut previous = ' ';
    while let Some(next) = rest.chars().next() {
        let length = literal_length(rest, previous);
        let taken = length.unwrap_or(next.len_utf8());
        let (token, tail) = rest.split_at(taken);
        match length {
            Some(_) => code.extend(token.chars().map(|c| if c == '\n' { c } else { ' ' })),
            None => code.push_str(token),
        }
        previous = token.chars().next_back().unwrap_or(' ');
        rest = tail;
    }
    code
}

/// The bytes of the comment or literal that `rest` begins with.
fn literal_length(rest: &str, previous: char) -> Option<usize> {
    let in_word = previous.is_alphanumeric() || previous == '_';
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted_length(rest, '"'));
    }
    if !in_word && (rest.starts_with("r\"") || rest.starts_with("r#") || rest.starts_with("br")) {
        return raw_string_length(rest);
    }
    if rest.starts_with('\'') && is_character(rest) {
        return Some(quoted_length(rest, '\''));
    }
    None
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut position = 0;
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        if here.starts_with(b"/*") {
            depth += 1;
            position += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += 1;
        }
    }
    rest.len()
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (position, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return position + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str) -> Option<usize> {
    let start = rest.find('r')? + 1;
    let hashes = rest[start..].bytes().take_while(|&byte| byte == b'#').count();
    let body = start + hashes;
    // `r#name` is a raw identifier, `br` may begin a word.
    if !rest[body..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let length = rest[body + 1..].find(&end).map(|at| body + 1 + at + end.len());
    Some(length.unwrap_or(rest.len()))
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_character(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        let check = |source: &str, expected: &str| {
            let blanked = blank_literals(source);
            assert_eq!(blanked.len() - blanked.trim_end().len(), source.len() - expected.len());
            let squeezed: String = blanked.split_whitespace().collect();
            assert_eq!(squeezed, expected.split_whitespace().collect::<String>(), "{source}");
        };
        check("f(){ } // }", "f(){ }");
        check("/* { /* { */ */", "");
        check("\"a \\\" {\"", "");
        check("r#\"{ \" \"#", "");
        check("'{'", "");
        check("'\\''", "");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check("let r#type = bra;", "let r#type = bra;");
    }

    #[test]
    fn open_ends_are_harmless() {
        for source in ["\"", "'", "/*", "r#\"", "'\\", "b", "r"] {
            assert!(blank_literals(source).len() <= source.len(), "{source}");
        }
    }
}
