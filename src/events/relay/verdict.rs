//! What becomes of each outbox row after the log has answered.

use std::collections::HashSet;

use crate::events::log::{Error, Partition};
use crate::events::outbox::store::{Dead, Row};

/// Longest error text that is kept with a dead row.
const ERROR_CHARS_MAX: usize = 1_000;

/// The fate of the rows of one batch.
#[derive(Debug, Default)]
pub struct Verdict {
    /// `seq` of the rows that the log holds.
    pub durable: Vec<i64>,
    /// The rows that the log refuses for good.
    pub refused: Vec<Dead>,
    /// How many rows stay.
    pub held_back: u64,
    /// Why the first of them stays.
    pub first_failure: Option<String>,
}

/// Judges the answers, one per row in the same order. After the first temporary failure of a key, its later rows stay
/// too, even those that the log took: they are appended again behind it, which keeps the order of the key.
pub fn judge(rows: &[Row], answers: Vec<Result<(Partition, i64), Error>>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut stopped: HashSet<&str> = HashSet::new();
    for (row, answer) in rows.iter().zip(answers) {
        if stopped.contains(row.key.as_str()) {
            verdict.held_back += 1;
            continue;
        }
        match answer {
            Ok(_) => verdict.durable.push(row.seq),
            Err(error) if error.is_temporary() => {
                stopped.insert(&row.key);
                verdict.held_back += 1;
                verdict
                    .first_failure
                    .get_or_insert_with(|| error.to_string());
            }
            Err(error) => verdict.refused.push(Dead {
                seq: row.seq,
                error: error.to_string().chars().take(ERROR_CHARS_MAX).collect(),
            }),
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use sqlx::types::Json;

    use super::*;
    use crate::kit::clock::SystemClock;
    use crate::kit::id::EventId;

    fn row(seq: i64, key: &str) -> Row {
        Row {
            seq,
            id: EventId::new(&SystemClock),
            topic: "t".to_owned(),
            key: key.to_owned(),
            headers: Json::default(),
            payload: Vec::new(),
        }
    }

    fn taken() -> Result<(Partition, i64), Error> {
        let partition = Partition {
            topic: "t".to_owned(),
            number: 0,
        };
        Ok((partition, 0))
    }

    #[test]
    fn rows_behind_a_temporary_failure_of_their_key_stay() {
        let rows = [row(1, "a"), row(2, "a"), row(3, "b"), row(4, "a")];
        let lost = Err(Error::Unavailable("lost".to_owned()));
        let verdict = judge(&rows, vec![taken(), lost, taken(), taken()]);
        assert_eq!(verdict.durable, [1, 3]);
        assert_eq!(verdict.held_back, 2);
        assert!(verdict.first_failure.unwrap().contains("lost"));
    }

    #[test]
    fn a_row_refused_for_good_lets_its_key_go_on() {
        let rows = [row(1, "a"), row(2, "a")];
        let refused = Err(Error::UnknownTopic("t".to_owned()));
        let verdict = judge(&rows, vec![refused, taken()]);
        assert_eq!(verdict.durable, [2]);
        assert_eq!(verdict.refused[0].seq, 1);
        assert_eq!(verdict.held_back, 0);
    }
}
