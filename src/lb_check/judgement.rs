//! How a phase comes to its finding.

use std::time::Duration;

use serde_json::Value;

use super::report::{Finding, Verdict};

/// The judgement of a phase while it is made: it gets worse, never better.
#[derive(Debug)]
pub(super) struct Judgement {
    verdict: Verdict,
    words: Vec<String>,
    pub(super) conclusive: bool,
    pub(super) details: serde_json::Map<String, Value>,
}

impl Judgement {
    pub(super) fn new() -> Self {
        Self {
            verdict: Verdict::Pass,
            words: Vec::new(),
            conclusive: true,
            details: serde_json::Map::new(),
        }
    }

    /// A phase that is not run, and why.
    pub(super) fn skip(why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Skip,
            words: vec![why.into()],
            ..Self::new()
        }
    }

    /// Something that was found and is right.
    pub(super) fn note(&mut self, words: impl Into<String>) {
        self.words.push(words.into());
    }

    /// Something that was found and is worth a look.
    pub(super) fn warn(&mut self, words: impl Into<String>) {
        self.verdict = self.verdict.max(Verdict::Warn);
        self.words.push(words.into());
    }

    /// Something that was found and is wrong.
    pub(super) fn fail(&mut self, words: impl Into<String>) {
        self.verdict = Verdict::Fail;
        self.words.push(words.into());
    }

    /// Notes `words`, as right where `good` is.
    pub(super) fn expect(&mut self, good: bool, words: impl Into<String>) {
        if good {
            self.note(words);
        } else {
            self.fail(words);
        }
    }

    /// A figure for the JSON form.
    pub(super) fn detail(&mut self, name: &str, value: impl Into<Value>) {
        self.details.insert(name.to_owned(), value.into());
    }

    pub(super) fn finish(self, phase: &'static str, expected: &str, took: Duration) -> Finding {
        Finding {
            phase,
            verdict: self.verdict,
            measured: self.words.join("; "),
            expected: expected.to_owned(),
            conclusive: self.conclusive,
            took_s: took.as_secs_f64(),
            details: Value::Object(self.details),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judgement_only_gets_worse() {
        let mut judgement = Judgement::new();
        judgement.fail("bad");
        judgement.warn("odd");
        judgement.note("fine");
        let finding = judgement.finish("spread", "x", Duration::ZERO);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert_eq!(
            finding.line(),
            "FAIL spread     bad; odd; fine [expected: x]"
        );
    }
}
