//! Gathers small things of one owner that arrive close together, so that they can go in one call.
//!
//! The first of a group opens it and somebody must [`Gatherer::collect`] it; the group closes when its window ends or
//! when it is full, whichever is first. Knows nothing of what is gathered.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How large a group becomes, and how long it is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupRules {
    /// Most things of a group.
    pub items_max: usize,
    /// Most pixels of a group together.
    pub pixels_max: u64,
    /// How long a group is open.
    pub window: Duration,
}

/// The open groups, one for each key at most.
#[derive(Debug)]
pub(super) struct Gatherer<K, T> {
    rules: GroupRules,
    open: Mutex<HashMap<K, Arc<Group<T>>>>,
}

/// Things that go together.
#[derive(Debug)]
pub(super) struct Group<T> {
    content: Mutex<Content<T>>,
    full: Notify,
}

#[derive(Debug)]
struct Content<T> {
    items: Vec<T>,
    pixels: u64,
}

impl<K: Eq + Hash + Clone, T> Gatherer<K, T> {
    pub fn new(rules: GroupRules) -> Self {
        Self {
            rules,
            open: Mutex::default(),
        }
    }

    /// Whether a thing of so many pixels may go with others at all.
    pub const fn takes(&self, pixels: u64) -> bool {
        self.rules.items_max > 1 && pixels <= self.rules.pixels_max
    }

    /// Adds a thing to the open group of its key. Where that opens a group, the caller gets it, to collect it.
    pub fn add(&self, key: K, pixels: u64, item: T) -> Option<Arc<Group<T>>> {
        let mut open = self.open.lock();
        if let Some(group) = open.get(&key) {
            let mut content = group.content.lock();
            if content.pixels + pixels <= self.rules.pixels_max {
                content.items.push(item);
                content.pixels += pixels;
                let full = content.items.len() >= self.rules.items_max;
                drop(content);
                if full {
                    group.full.notify_one();
                    open.remove(&key);
                }
                return None;
            }
            group.full.notify_one();
        }
        let group = Arc::new(Group {
            content: Mutex::new(Content {
                items: vec![item],
                pixels,
            }),
            full: Notify::new(),
        });
        open.insert(key, Arc::clone(&group));
        Some(group)
    }

    /// Waits until the group closes, and takes what is in it.
    pub async fn collect(&self, key: &K, group: Arc<Group<T>>) -> Vec<T> {
        tokio::select! {
            () = tokio::time::sleep(self.rules.window) => {}
            () = group.full.notified() => {}
        }
        let mut open = self.open.lock();
        if open
            .get(key)
            .is_some_and(|other| Arc::ptr_eq(other, &group))
        {
            open.remove(key);
        }
        drop(open);
        std::mem::take(&mut group.content.lock().items)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const RULES: GroupRules = GroupRules {
        items_max: 3,
        pixels_max: 100,
        window: Duration::from_millis(20),
    };

    #[tokio::test(start_paused = true)]
    async fn what_arrives_within_the_window_goes_together() {
        let gatherer = Gatherer::new(RULES);
        let start = Instant::now();
        let group = gatherer.add("ada", 10, 1).expect("a new group");
        let other = gatherer
            .add("ben", 10, 9)
            .expect("a group of another owner");
        let (mine, theirs) = tokio::join!(gatherer.collect(&"ada", group), async {
            tokio::time::sleep(Duration::from_millis(19)).await;
            assert!(gatherer.add("ada", 10, 2).is_none());
            gatherer.collect(&"ben", other).await
        });
        assert_eq!((mine, theirs), (vec![1, 2], vec![9]));
        assert!(start.elapsed() >= RULES.window);
        assert!(gatherer.add("ada", 10, 3).is_some(), "the window is over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_group_waits_for_nobody() {
        let gatherer = Gatherer::new(RULES);
        let start = Instant::now();
        let group = gatherer.add("ada", 10, 1).unwrap();
        assert!(gatherer.add("ada", 10, 2).is_none());
        assert!(gatherer.add("ada", 10, 3).is_none());
        let next = gatherer.add("ada", 10, 4).expect("the first is full");
        assert_eq!(gatherer.collect(&"ada", group).await, [1, 2, 3]);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(gatherer.add("ada", 91, 5).is_some(), "100 pixels at most");
        assert_eq!(gatherer.collect(&"ada", next).await, [4]);
        assert!(gatherer.takes(100) && !gatherer.takes(101));
    }
}
