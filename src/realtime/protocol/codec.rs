//! The two forms: JSON, one command or reply a line, and Protobuf, each behind its length.

use bytes::{Buf, Bytes};
use prost::Message;

use super::{Command, Reply};
use crate::realtime::frame::{self, Opcode};

/// The subprotocol that asks for Protobuf.
const PROTOBUF: &str = "centrifuge-protobuf";
/// The subprotocol that asks for JSON, which is also spoken without one.
const JSON: &str = "centrifuge-json";

/// A form of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Text frames of JSON.
    Json,
    /// Binary frames of Protobuf.
    Protobuf,
}

/// The bytes are no commands; or a reply cannot be written in this form.
#[derive(Debug, thiserror::Error)]
#[error("malformed: {0}")]
pub struct Malformed(String);

impl Codec {
    /// The names by which clients ask for a form.
    pub const SUBPROTOCOLS: &[&str] = &[PROTOBUF, JSON];

    /// The form that a subprotocol asks for.
    pub fn of_subprotocol(name: Option<&str>) -> Self {
        match name {
            Some(PROTOBUF) => Self::Protobuf,
            _ => Self::Json,
        }
    }

    /// The commands of one message.
    ///
    /// # Errors
    /// Where one of them is none.
    pub fn decode(self, message: &[u8]) -> Result<Vec<Command>, Malformed> {
        match self {
            Self::Json => decode_lines(message),
            Self::Protobuf => decode_delimited(message),
        }
    }

    /// One reply as a whole frame.
    ///
    /// # Errors
    /// Where its payload is no JSON, which the JSON form needs.
    pub fn frame(self, reply: &Reply) -> Result<Bytes, Malformed> {
        Ok(match self {
            Self::Json => {
                let json =
                    serde_json::to_vec(reply).map_err(|error| Malformed(error.to_string()))?;
                frame::encode(Opcode::Text, &json)
            }
            Self::Protobuf => {
                frame::encode(Opcode::Binary, &reply.encode_length_delimited_to_vec())
            }
        })
    }
}

fn decode_lines(message: &[u8]) -> Result<Vec<Command>, Malformed> {
    let lines = message.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    lines
        .map(|line| serde_json::from_slice(line).map_err(|error| Malformed(error.to_string())))
        .collect()
}

fn decode_delimited(mut message: &[u8]) -> Result<Vec<Command>, Malformed> {
    let mut commands = Vec::new();
    while message.has_remaining() {
        let command = Command::decode_length_delimited(&mut message);
        commands.push(command.map_err(|error| Malformed(error.to_string()))?);
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, Publication, Request};
    use super::*;

    #[test]
    fn commands_of_both_forms_are_the_same() {
        let lines = br#"{"id":1,"connect":{"token":"t","name":"js","unknown":[1]}}
            {"id":2,"publish":{"channel":"user:1","data":{"a": [1, 2]}}}
            {}
        "#;
        let commands = Codec::Json.decode(lines).unwrap();
        let bytes: Vec<u8> = commands
            .iter()
            .flat_map(Message::encode_length_delimited_to_vec)
            .collect();
        assert_eq!(Codec::Protobuf.decode(&bytes).unwrap(), commands);
        assert!(commands[2].is_pong() && !commands[1].is_pong());
        let Some(Request::Publish(publish)) = commands[1].clone().request() else {
            panic!("{:?}", commands[1]);
        };
        assert_eq!(publish.data, r#"{"a": [1, 2]}"#);
    }

    #[test]
    fn a_message_without_commands_is_told_from_a_broken_one() {
        assert_eq!(Codec::Json.decode(b" \n").unwrap(), []);
        assert!(Codec::Json.decode(b"7").is_err());
        assert!(Codec::Json.decode(b"{\"id\":-1}").is_err());
        assert!(Codec::Protobuf.decode(&[9, 1]).is_err());
    }

    #[test]
    fn a_token_is_never_printed() {
        let command = Codec::Json.decode(br#"{"id":1,"connect":{"token":"hidden"}}"#);
        assert!(!format!("{command:?}").contains("hidden"));
        let command = Codec::Json.decode(br#"{"id":1,"refresh":{"token":"hidden"}}"#);
        assert!(!format!("{command:?}").contains("hidden"));
    }

    #[test]
    fn replies_have_the_protocols_shape() {
        let failed = Reply::failed(7, Failure::PermissionDenied);
        assert_eq!(
            Codec::Json.frame(&failed).unwrap()[2..],
            *br#"{"id":7,"error":{"code":103,"message":"permission denied"}}"#
        );
        let pushed = Reply::pushed("job:1", |push| {
            push.publication = Some(Publication {
                data: Bytes::from_static(b"{\"percent\":5}"),
                offset: 3,
                ..Publication::default()
            });
        });
        assert_eq!(
            Codec::Json.frame(&pushed).unwrap()[2..],
            *br#"{"push":{"channel":"job:1","pub":{"data":{"percent":5},"offset":3}}}"#
        );
        assert_eq!(
            Codec::Json.frame(&Reply::default()).unwrap()[..],
            *b"\x81\x02{}"
        );
        assert_eq!(
            Codec::Protobuf.frame(&Reply::default()).unwrap()[..],
            *b"\x82\x01\0"
        );
    }

    #[test]
    fn a_payload_that_is_no_json_is_refused_in_json_alone() {
        let pushed = Reply::pushed("c", |push| {
            push.publication = Some(Publication {
                data: Bytes::from_static(b"\xff"),
                ..Publication::default()
            });
        });
        assert!(Codec::Json.frame(&pushed).is_err());
        assert!(Codec::Protobuf.frame(&pushed).is_ok());
    }
}
