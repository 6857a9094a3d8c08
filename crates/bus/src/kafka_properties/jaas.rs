//! `sasl.jaas.config`: `class control-flag name="value" …;`

/// A login module and its options.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Jaas {
    /// The class name without its package.
    pub(super) module: String,
    options: Vec<(String, String)>,
}

impl Jaas {
    /// `None` when it is not one entry of that form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim().strip_suffix(';').unwrap_or(text.trim());
        let class = word(&mut rest)?;
        let _flag = word(&mut rest)?;
        let module = class.rsplit('.').next().unwrap_or(class).to_owned();
        let mut options = Vec::new();
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return Some(Self { module, options });
            }
            let (name, after) = rest.split_once('=')?;
            rest = after.trim_start();
            options.push((name.trim().to_owned(), value(&mut rest)?));
        }
    }

    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    *rest = &text[end..];
    (end > 0).then(|| &text[..end])
}

/// Quoted with either quote, a backslash escaping; or a bare word.
fn value(rest: &mut &str) -> Option<String> {
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return word(rest).map(str::to_owned);
    };
    let mut value = String::new();
    let mut characters = rest[1..].char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            c if c == quote => {
                *rest = &rest[1 + at + 1..];
                return Some(value);
            }
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_escapes_and_order_do_not_matter() {
        let jaas = Jaas::parse(
            r#" org.apache.kafka.common.security.scram.ScramLoginModule required
                password = "a\"b;c=d" username='bob' tokenauth=true ; "#,
        )
        .unwrap();
        assert_eq!(jaas.module, "ScramLoginModule");
        assert_eq!(jaas.option("username"), Some("bob"));
        assert_eq!(jaas.option("password"), Some("a\"b;c=d"));
        assert_eq!(jaas.option("tokenauth"), Some("true"));
        assert_eq!(jaas.option("none"), None);
    }

    #[test]
    fn what_is_not_jaas_is_refused() {
        for text in ["", ";", "OnlyAClass", "a.B required user", "a.B required user=\"open", "a.B required user=\"x\\"]
        {
            assert!(Jaas::parse(text).is_none(), "{text}");
        }
    }
}
