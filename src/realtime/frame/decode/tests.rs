use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use super::super::encode;
use super::*;

const LIMIT: usize = 65_536;

/// A client's frame, made by another implementation.
fn frame(opcode: OpCode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        is_final: fin,
        opcode,
        mask: Some([0x37, 0xfa, 0x21, 0x3d]),
        ..FrameHeader::default()
    };
    let mut bytes = Vec::new();
    let frame = Frame::from_payload(header, payload.to_vec().into());
    frame.format(&mut bytes).unwrap();
    bytes
}

fn text(fin: bool, payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Data::Text), fin, payload)
}

fn more(fin: bool, payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Data::Continue), fin, payload)
}

/// Everything in `bytes`, whole and then byte by byte, which must not differ.
fn decode(bytes: &[u8]) -> Result<Vec<Message>, Violation> {
    let whole = decode_in_pieces(bytes, bytes.len().max(1));
    assert_eq!(whole, decode_in_pieces(bytes, 1));
    whole
}

fn decode_in_pieces(bytes: &[u8], size: usize) -> Result<Vec<Message>, Violation> {
    let (mut decoder, mut messages) = (Decoder::new(LIMIT), Vec::new());
    for piece in bytes.chunks(size) {
        decoder.feed(piece);
        while let Some(message) = decoder.next_message()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn is_protocol_error(outcome: &Result<Vec<Message>, Violation>) -> bool {
    matches!(outcome, Err(Violation::Protocol(_)))
}

#[test]
fn messages_of_every_form_of_length_arrive() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![b'*'; length];
        let expected = Ok(vec![Message::Text(payload.clone())]);
        assert_eq!(decode(&text(true, &payload)), expected, "{length}");
        let binary = frame(OpCode::Data(Data::Binary), true, &payload);
        assert_eq!(decode(&binary), Ok(vec![Message::Binary(payload)]));
    }
}

#[test]
fn a_message_in_pieces_arrives_whole_with_a_ping_in_between() {
    let bytes = [
        text(false, "Hel".as_bytes()),
        frame(OpCode::Control(Control::Ping), true, b"now"),
        more(false, b""),
        more(true, "lo µ".as_bytes()),
    ];
    let expected = [
        Message::Ping(b"now".to_vec()),
        Message::Text("Hello µ".into()),
    ];
    assert_eq!(decode(&bytes.concat()), Ok(expected.to_vec()));
}

#[test]
fn a_character_may_be_cut_by_pieces_but_not_by_the_end() {
    let [high, low] = *"µ".as_bytes() else {
        panic!("two bytes")
    };
    let whole = [text(false, &[high]), more(true, &[low])].concat();
    assert_eq!(decode(&whole), Ok(vec![Message::Text("µ".into())]));
    assert_eq!(decode(&text(true, &[high])), Err(Violation::NotUtf8));
}

#[test]
fn frames_that_no_client_may_send_are_refused() {
    let mut reserved = text(true, b"x");
    reserved[0] |= 0x40;
    let mut unknown = text(true, b"x");
    unknown[0] = 0x83;
    let ping = OpCode::Control(Control::Ping);
    for (bytes, what) in [
        (encode(Opcode::Text, b"x").to_vec(), "without a mask"),
        (reserved, "a reserved bit"),
        (unknown, "an unknown opcode"),
        (more(true, b"x"), "more of no message"),
        ([text(false, b"x"), text(true, b"x")].concat(), "inside"),
        (frame(ping, false, b"x"), "a control frame in pieces"),
        (frame(ping, true, &[0; 126]), "a long control frame"),
    ] {
        assert!(is_protocol_error(&decode(&bytes)), "{what}");
    }
}

#[test]
fn a_length_that_is_not_the_shortest_is_refused() {
    let mask = [0; 4];
    let short_in_16 = [&[0x82, 0xFE, 0, 125][..], &mask].concat();
    let short_in_64 = [&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255][..], &mask].concat();
    let negative = [&[0x82, 0xFF, 255, 0, 0, 0, 0, 0, 0, 0][..], &mask].concat();
    for bytes in [short_in_16, short_in_64, negative] {
        assert!(is_protocol_error(&decode(&bytes)));
    }
}

#[test]
fn the_limit_holds_for_a_message_whatever_its_pieces() {
    let too_large = Err(Violation::TooLarge);
    assert_eq!(decode(&text(true, &vec![b'x'; LIMIT + 1])), too_large);
    let half = vec![b'x'; LIMIT / 2];
    let pieces = [text(false, &half), more(false, &half), more(true, b"x")];
    assert_eq!(decode_in_pieces(&pieces.concat(), 4_096), too_large);
}

#[test]
fn a_large_message_is_refused_before_its_payload_comes() {
    let mut decoder = Decoder::new(LIMIT);
    decoder.feed(&[0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(decoder.next_message(), Err(Violation::TooLarge));
}

#[test]
fn close_codes_are_judged() {
    let close = |payload: &[u8]| decode(&frame(OpCode::Control(Control::Close), true, payload));
    assert_eq!(close(b""), Ok(vec![Message::Close(None)]));
    for code in [1000_u16, 1001, 1011, 3000, 3999, 4999] {
        let payload = [&code.to_be_bytes()[..], b"why"].concat();
        assert_eq!(close(&payload), Ok(vec![Message::Close(Some(code))]));
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        assert!(is_protocol_error(&close(&code.to_be_bytes())), "{code}");
    }
    assert!(is_protocol_error(&close(&[3])));
    assert_eq!(close(&[3, 232, 0xFF]), Err(Violation::NotUtf8));
}

#[test]
fn nothing_is_held_between_messages() {
    let mut decoder = Decoder::new(LIMIT);
    decoder.feed(&text(true, &[b'x'; 10_000]));
    assert!(decoder.next_message().unwrap().is_some());
    assert_eq!(decoder.pending.capacity(), 0);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_a_message(
        pieces in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..200), 0..20),
    ) {
        let mut decoder = Decoder::new(64);
        for piece in pieces {
            decoder.feed(&piece);
            while let Ok(Some(message)) = decoder.next_message() {
                if let Message::Text(bytes) | Message::Binary(bytes) = message {
                    proptest::prop_assert!(bytes.len() <= 64);
                }
            }
        }
    }
}
