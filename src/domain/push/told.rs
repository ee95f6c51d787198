//! What travels on a realtime channel: something said, by the product or by a client, or a client that came or left.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::kit::id::UserId;

/// A client of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Author {
    /// Who is signed in.
    pub user: UserId,
    /// The connection's name.
    pub client: String,
}

/// What travels on a channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Somebody said something.
    Said {
        /// What, in JSON.
        data: Box<RawValue>,
        /// The client that did; `None` where it was the product.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Author>,
    },
    /// A client subscribed.
    Joined(Author),
    /// A client left.
    Left(Author),
}

impl Told {
    /// Something that the product says.
    ///
    /// # Errors
    /// When the message is no JSON.
    pub fn by_the_product(message: &impl Serialize) -> serde_json::Result<Self> {
        let data = serde_json::value::to_raw_value(message)?;
        Ok(Self::Said { data, by: None })
    }

    /// As it travels.
    ///
    /// # Errors
    /// Never in practice: every part of it is JSON already.
    pub fn to_bytes(&self) -> serde_json::Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from)
    }

    /// Reads what travels.
    ///
    /// # Errors
    /// When it is of a version that this one does not know.
    pub fn read(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::clock::SystemClock;

    #[test]
    fn what_is_said_stays_as_it_was_written() {
        let data = RawValue::from_string("{ \"a\" : 1.50 }".to_owned()).unwrap();
        let by = Author {
            user: UserId::new(&SystemClock),
            client: "c".to_owned(),
        };
        let told = Told::Said {
            data,
            by: Some(by.clone()),
        };
        let Told::Said {
            data,
            by: Some(read),
        } = Told::read(&told.to_bytes().unwrap()).unwrap()
        else {
            panic!("something said");
        };
        assert_eq!((data.get(), read), ("{ \"a\" : 1.50 }", by.clone()));
        let joined = Told::Joined(by.clone()).to_bytes().unwrap();
        assert!(matches!(Told::read(&joined).unwrap(), Told::Joined(read) if read == by));
    }
}
