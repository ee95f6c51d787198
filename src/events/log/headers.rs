//! The headers of a record.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names and values, in order; a name may come again. All are kept in one text: records have ten of them and are read by the
/// hundred thousand.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    /// Where each name and each value ends in the text, by turns.
    ends: Vec<usize>,
}

impl Headers {
    /// None yet, with room for so many of so many bytes together.
    pub fn with_capacity(headers: usize, bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            ends: Vec::with_capacity(2 * headers),
        }
    }

    /// Adds one behind the others.
    pub fn push(&mut self, name: &str, value: &str) {
        for part in [name, value] {
            self.text.push_str(part);
            self.ends.push(self.text.len());
        }
    }

    /// Name and value of each, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        (0..self.len()).map(|at| {
            let begin = at.checked_mul(2).and_then(|at| at.checked_sub(1));
            let begin = begin.map_or(0, |before| self.ends[before]);
            let (middle, end) = (self.ends[2 * at], self.ends[2 * at + 1]);
            (&self.text[begin..middle], &self.text[middle..end])
        })
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all names and values.
    pub const fn bytes(&self) -> usize {
        self.text.len()
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, headers: I) {
        for (name, value) in headers {
            self.push(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut these = Self::default();
        these.extend(headers);
        these
    }
}

/// A list of pairs.
impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?;
        Ok(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_come_back_in_order_even_where_they_are_empty() {
        let pairs = [("", "one"), ("two", ""), ("", ""), ("ä", "ö"), ("two", "2")];
        let headers: Headers = pairs.into_iter().collect();
        assert_eq!(headers.iter().collect::<Vec<_>>(), pairs);
        assert!(headers.iter().rev().eq(pairs.into_iter().rev()));
        assert_eq!((headers.len(), headers.bytes()), (5, 14));
        assert!(Headers::default().is_empty() && Headers::default().iter().next().is_none());
    }

    #[test]
    fn as_json_they_are_a_list_of_pairs() {
        let headers: Headers = [("a", "1"), ("b", "\"2\"")].into_iter().collect();
        let json = serde_json::to_string(&headers).unwrap();
        assert_eq!(json, r#"[["a","1"],["b","\"2\""]]"#);
        assert_eq!(serde_json::from_str::<Headers>(&json).unwrap(), headers);
    }
}
