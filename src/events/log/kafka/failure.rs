//! librdkafka's errors in the words of the contract.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::events::log::{Error, NewRecord, RECORD_BYTES_MAX};

/// No answer, or one that another try may better.
pub fn unavailable(error: impl ToString) -> Error {
    Error::Unavailable(error.to_string())
}

/// Why a record was not appended.
pub fn of_append(error: &KafkaError, record: &NewRecord) -> Error {
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => Error::TooLarge {
            topic: record.topic.clone(),
            bytes: (record.key.len() + record.value.len()).max(RECORD_BYTES_MAX),
        },
        Some(
            Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic,
        ) => Error::UnknownTopic(record.topic.clone()),
        _ => unavailable(error),
    }
}

/// Why positions were not committed. During a rebalance the brokers refuse the commits of members that do not belong to
/// the present generation (librdkafka #3337, #3306): the records will be delivered to another.
pub fn of_commit(error: &KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(
            Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::RebalanceInProgress
            | Code::FencedInstanceId
            | Code::AssignmentLost,
        ) => Error::Fenced(error.to_string()),
        _ => unavailable(error),
    }
}
