//! What this process says of itself in its line of the list of live ones: each part adds what it knows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

type Read = Box<dyn Fn() -> Value + Send + Sync>;

/// The parts' figures. Clones share them.
#[derive(Clone, Default)]
pub struct Vitals {
    parts: Arc<Mutex<BTreeMap<&'static str, Read>>>,
}

impl Vitals {
    /// From now on `name` stands among the figures, as `read` gives it each time. A part that was added before is
    /// replaced.
    pub fn add(&self, name: &'static str, read: impl Fn() -> Value + Send + Sync + 'static) {
        self.parts.lock().insert(name, Box::new(read));
    }

    /// An object with the figures of every part.
    pub fn read(&self) -> Value {
        let parts = self.parts.lock();
        let read = parts
            .iter()
            .map(|(name, read)| ((*name).to_owned(), read()));
        Value::Object(read.collect())
    }
}

impl fmt::Debug for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.parts.lock().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_each_time() {
        let vitals = Vitals::default();
        let permits = Arc::new(Mutex::new(1));
        let read = Arc::clone(&permits);
        vitals.add("permits", move || Value::from(*read.lock()));
        assert_eq!(vitals.read(), serde_json::json!({ "permits": 1 }));
        *permits.lock() = 2;
        assert_eq!(vitals.read(), serde_json::json!({ "permits": 2 }));
    }
}
