//! Who shall read what: evenly, and with as few moves as possible. Every member computes it from the same rows and comes
//! to the same answer.

use std::collections::BTreeMap;

use crate::events::log::Partition;

/// A member as the spread sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Its id.
    pub id: String,
    /// The topics that it reads.
    pub topics: Vec<String>,
}

/// The reader of each partition. `owners` holds every partition of the group's topics, with the member that has it now;
/// owners that are not among `readers` do not count. A partition whose topic nobody reads is left out.
pub fn spread(
    readers: &[Reader],
    owners: &BTreeMap<Partition, Option<String>>,
) -> BTreeMap<Partition, String> {
    let mut spread = Spread::keep(readers, owners);
    for partition in owners.keys() {
        spread.give_if_free(partition);
    }
    while let Some((partition, to)) = spread.next_move() {
        spread.readers_of.insert(partition, to);
    }
    let named =
        |(partition, reader): (&Partition, usize)| (partition.clone(), readers[reader].id.clone());
    spread.readers_of.into_iter().map(named).collect()
}

struct Spread<'a> {
    readers: &'a [Reader],
    /// Index of the reader of each partition.
    readers_of: BTreeMap<&'a Partition, usize>,
}

impl<'a> Spread<'a> {
    /// Everybody keeps what they have and still read.
    fn keep(readers: &'a [Reader], owners: &'a BTreeMap<Partition, Option<String>>) -> Self {
        let readers_of = owners.iter().filter_map(|(partition, owner)| {
            let owner = owner.as_ref()?;
            let reader = readers.iter().position(|reader| reader.id == *owner)?;
            reads(&readers[reader], partition).then_some((partition, reader))
        });
        Self {
            readers,
            readers_of: readers_of.collect(),
        }
    }

    fn load(&self, reader: usize) -> usize {
        let readers = self.readers_of.values();
        readers.filter(|other| **other == reader).count()
    }

    /// The reader of this partition's topic who has least.
    fn least(&self, partition: &Partition) -> Option<usize> {
        let able = (0..self.readers.len()).filter(|it| reads(&self.readers[*it], partition));
        able.min_by_key(|reader| (self.load(*reader), &self.readers[*reader].id))
    }

    fn give_if_free(&mut self, partition: &'a Partition) {
        if !self.readers_of.contains_key(partition)
            && let Some(reader) = self.least(partition)
        {
            self.readers_of.insert(partition, reader);
        }
    }

    /// A partition that moves from a reader to one who has at least two less; the last partition of the fullest first.
    /// Each move lessens the sum of squared loads, so that moves come to an end.
    fn next_move(&self) -> Option<(&'a Partition, usize)> {
        let moves = self
            .readers_of
            .iter()
            .rev()
            .filter_map(|(partition, from)| {
                let to = self.least(partition)?;
                let excess = self.load(*from).checked_sub(self.load(to) + 2)?;
                Some((excess, *partition, to))
            });
        let fullest = moves
            .rev()
            .max_by_key(|(excess, partition, _)| (*excess, *partition))?;
        Some((fullest.1, fullest.2))
    }
}

fn reads(reader: &Reader, partition: &Partition) -> bool {
    reader.topics.contains(&partition.topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(id: &str, topics: &[&str]) -> Reader {
        Reader {
            id: id.to_owned(),
            topics: topics.iter().map(ToString::to_string).collect(),
        }
    }

    fn free(topic: &str, partitions: i32) -> BTreeMap<Partition, Option<String>> {
        let partition = |number| Partition {
            topic: topic.to_owned(),
            number,
        };
        (0..partitions).map(|it| (partition(it), None)).collect()
    }

    fn owned(spread: BTreeMap<Partition, String>) -> BTreeMap<Partition, Option<String>> {
        spread
            .into_iter()
            .map(|(it, owner)| (it, Some(owner)))
            .collect()
    }

    fn loads(spread: &BTreeMap<Partition, String>) -> Vec<usize> {
        let mut loads: BTreeMap<&str, usize> = BTreeMap::new();
        for owner in spread.values() {
            *loads.entry(owner).or_default() += 1;
        }
        loads.into_values().collect()
    }

    #[test]
    fn readers_share_evenly_and_nothing_is_left() {
        let readers = [
            reader("a", &["t"]),
            reader("b", &["t"]),
            reader("c", &["t"]),
        ];
        assert_eq!(loads(&spread(&readers, &free("t", 12))), [4, 4, 4]);
        assert_eq!(loads(&spread(&readers, &free("t", 2))), [1, 1]);
    }

    #[test]
    fn a_newcomer_gets_its_share_and_nothing_else_moves() {
        let two = [reader("a", &["t"]), reader("b", &["t"])];
        let before = spread(&two, &free("t", 12));
        let three = [
            reader("a", &["t"]),
            reader("b", &["t"]),
            reader("c", &["t"]),
        ];
        let after = spread(&three, &owned(before.clone()));
        assert_eq!(loads(&after), [4, 4, 4]);
        let moved = after.iter().filter(|(it, owner)| before[it] != **owner);
        assert_eq!(moved.count(), 4);
    }

    #[test]
    fn what_the_dead_leave_goes_to_the_others() {
        let before = spread(&[reader("a", &["t"]), reader("b", &["t"])], &free("t", 5));
        let after = spread(&[reader("b", &["t"])], &owned(before));
        assert_eq!(loads(&after), [5]);
    }

    #[test]
    fn only_those_who_read_a_topic_get_it() {
        let mut partitions = free("t", 4);
        partitions.extend(free("u", 4));
        let spread = spread(
            &[reader("a", &["t"]), reader("b", &["t", "u"])],
            &partitions,
        );
        assert!(
            spread
                .iter()
                .all(|(it, owner)| it.topic == "t" || owner == "b")
        );
        assert_eq!(loads(&spread), [4, 4]);
    }
}
