//! Rust source cut into words, texts and signs, comments left out: enough to follow paths, `mod` declarations and
//! string literals, with the line of each.

/// A piece of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub line: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An identifier, keyword or number.
    Word(String),
    /// The content of a string literal as it is written (escapes are kept).
    Text(String),
    /// `::` and every other single character.
    Sign(&'static str),
}

impl Token {
    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is(&self, sign: &str) -> bool {
        self.kind
            == Kind::Sign(
                SIGNS
                    .iter()
                    .find(|known| **known == sign)
                    .copied()
                    .unwrap_or(OTHER),
            )
    }
}

/// The signs that rules ask for; all others are [`OTHER`].
const SIGNS: &[&str] = &[
    "::", "{", "}", "(", ")", "[", "]", "#", "!", ";", ",", "*", "=", "$",
];
const OTHER: &str = "other";

/// The tokens of `source`.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader {
        rest: source,
        line: 1,
        found: Vec::new(),
    };
    while !reader.rest.is_empty() {
        reader.step();
    }
    reader.found
}

/// The tokens without the items marked `#[cfg(test)]`.
pub fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_test_mark(&tokens[at..]) {
            at = end_of_item(tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn is_test_mark(tokens: &[Token]) -> bool {
    let [hash, open, cfg, ..] = tokens else {
        return false;
    };
    hash.is("#")
        && open.is("[")
        && cfg.word() == Some("cfg")
        && tokens.get(4).and_then(Token::word) == Some("test")
        && tokens.get(5).is_some_and(|token| token.is(")"))
}

/// Behind the first `;` outside brackets, or the first `}` that closes a brace opened outside brackets.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        if ["{", "(", "["].iter().any(|sign| token.is(sign)) {
            depth += 1;
        } else if ["}", ")", "]"].iter().any(|sign| token.is(sign)) {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 && (token.is("}") || token.is(";")) {
            return at + 1;
        }
    }
    tokens.len()
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    found: Vec<Token>,
}

impl Reader<'_> {
    fn step(&mut self) {
        let first = self
            .rest
            .chars()
            .next()
            .expect("the caller saw that something is left");
        if first.is_whitespace() {
            self.take(first.len_utf8());
        } else if self.rest.starts_with("//") {
            self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.take(block_comment(self.rest));
        } else if let Some(text) = string_literal(self.rest) {
            self.push(Kind::Text(text.content.to_owned()));
            self.take(text.length);
        } else if first == '\'' {
            self.push(Kind::Sign(OTHER));
            self.take(character_or_lifetime(self.rest));
        } else if is_word(first) {
            let length = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
            self.push(Kind::Word(self.rest[..length].to_owned()));
            self.take(length);
        } else {
            let sign = SIGNS
                .iter()
                .find(|sign| self.rest.starts_with(**sign))
                .copied()
                .unwrap_or(OTHER);
            self.push(Kind::Sign(sign));
            self.take(if sign == OTHER {
                first.len_utf8()
            } else {
                sign.len()
            });
        }
    }

    fn push(&mut self, kind: Kind) {
        self.found.push(Token {
            line: self.line,
            kind,
        });
    }

    fn take(&mut self, length: usize) {
        self.line += self.rest[..length].matches('\n').count();
        self.rest = &self.rest[length..];
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a comment that may hold others.
fn block_comment(source: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < source.len() {
        let two = source.as_bytes().get(at..at + 2).unwrap_or_default();
        match two {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    source.len()
}

struct Literal<'a> {
    content: &'a str,
    length: usize,
}

/// `"…"`, `b"…"`, `c"…"` and the raw forms with any number of `#`.
fn string_literal(source: &str) -> Option<Literal<'_>> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        source
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('"') || (prefix.ends_with('r') && is_raw(rest)))
    })?;
    let body = &source[prefix.len()..];
    if !prefix.ends_with('r') {
        let end = end_of_quoted(body);
        return Some(Literal {
            content: body[1..].get(..end - 2).unwrap_or_default(),
            length: prefix.len() + end,
        });
    }
    let hashes = body.find('"')?;
    let close = format!("\"{}", &body[..hashes]);
    let content = body[hashes + 1..].split(&close).next().unwrap_or_default();
    Some(Literal {
        content,
        length: (prefix.len() + hashes + 1 + content.len() + close.len()).min(source.len()),
    })
}

fn is_raw(rest: &str) -> bool {
    rest.starts_with('#') && rest.trim_start_matches('#').starts_with('"')
}

/// The length of `"…"` from quote to quote, over escaped quotes.
fn end_of_quoted(body: &str) -> usize {
    let bytes = body.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `'a'` and `'\n'` are characters, `'a` alone is a lifetime, of which only the quote is taken.
fn character_or_lifetime(source: &str) -> usize {
    let mut characters = source.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((escaped, c))) => {
            let behind = escaped + c.len_utf8();
            source[behind..]
                .find('\'')
                .map_or(source.len(), |quote| behind + quote + 1)
        }
        (Some(_), Some((quote, '\''))) => quote + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<(usize, String)> {
        tokens(source)
            .iter()
            .filter_map(|token| Some((token.line, token.word()?.to_owned())))
            .collect()
    }

    fn texts(source: &str) -> Vec<String> {
        tokens(source)
            .iter()
            .filter_map(|token| token.text().map(str::to_owned))
            .collect()
    }

    #[test]
    fn comments_are_left_out_and_lines_counted() {
        let source = "one // two\n/* three /* four */\n five */ six\n/// seven\neight";
        assert_eq!(
            words(source),
            [(1, "one".into()), (3, "six".into()), (5, "eight".into())]
        );
    }

    #[test]
    fn every_form_of_string_is_one_text() {
        let source = r####"a "x // \" y" b"z" r"\" r#"q " q"# br##"w"# w"## c"end" "" rest"####;
        assert_eq!(
            texts(source),
            [
                r#"x // \" y"#,
                "z",
                r"\",
                r#"q " q"#,
                r##"w"# w"##,
                "end",
                ""
            ]
        );
        assert_eq!(words(source).len(), 2);
    }

    #[test]
    fn characters_and_lifetimes_do_not_open_strings() {
        let source = r#"f<'a>('"', '\'', '\u{1F600}', 'é') "text" 'static after"#;
        assert_eq!(texts(source), ["text"]);
        let words: Vec<_> = words(source).into_iter().map(|(_, word)| word).collect();
        assert_eq!(words, ["f", "a", "static", "after"]);
    }

    #[test]
    fn items_for_tests_are_taken_out_whole() {
        let source = "#[cfg(test)] mod tests { fn f() { g(); } } keep #[cfg(test)] #[x] use a::{b, c}; fn k(a: [u8; 2]) {} \
                      #[cfg(test)] fn l(a: [u8; 2]) { m } #[cfg(unix)] fn n() {}";
        let kept: Vec<_> = without_tests(&tokens(source))
            .iter()
            .filter_map(|token| token.word().map(str::to_owned))
            .collect();
        assert_eq!(
            kept,
            ["keep", "fn", "k", "a", "u8", "2", "cfg", "unix", "fn", "n"]
        );
    }
}
