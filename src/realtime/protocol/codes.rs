//! The numbers of the protocol and what a client does about them. They are Centrifugo's: the published clients know them.

/// Why a command failed; the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Something here does not work now; worth another try.
    Internal,
    /// There is no such channel for this client.
    UnknownChannel,
    /// The client may not do this there.
    PermissionDenied,
    /// It is subscribed already.
    AlreadySubscribed,
    /// The connection has as many channels as it may.
    LimitExceeded,
    /// The request makes no sense.
    BadRequest,
    /// The channel, or the server, does not offer this.
    NotAvailable,
    /// Too many commands; worth another try.
    TooManyRequests,
    /// What was missed cannot be had any more.
    UnrecoverablePosition,
}

impl Failure {
    /// The number.
    pub const fn code(self) -> u32 {
        match self {
            Self::Internal => 100,
            Self::UnknownChannel => 102,
            Self::PermissionDenied => 103,
            Self::AlreadySubscribed => 105,
            Self::LimitExceeded => 106,
            Self::BadRequest => 107,
            Self::NotAvailable => 108,
            Self::TooManyRequests => 111,
            Self::UnrecoverablePosition => 112,
        }
    }

    /// The same in words.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Internal => "internal server error",
            Self::UnknownChannel => "unknown channel",
            Self::PermissionDenied => "permission denied",
            Self::AlreadySubscribed => "already subscribed",
            Self::LimitExceeded => "limit exceeded",
            Self::BadRequest => "bad request",
            Self::NotAvailable => "not available",
            Self::TooManyRequests => "too many requests",
            Self::UnrecoverablePosition => "unrecoverable position",
        }
    }

    /// Whether a client should try again by itself.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Internal | Self::TooManyRequests)
    }
}

/// Why the server ends a connection: the code of its close frame. Below 3500 clients connect again by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disconnect {
    /// The process stops.
    Shutdown,
    /// Who the client is could not be found out now.
    ServerError,
    /// It does not read.
    Slow,
    /// It does not answer pings.
    NoPong,
    /// Its token or session is none, or no more.
    InvalidToken,
    /// It does not speak the protocol.
    BadRequest,
    /// It never said who it is.
    Stale,
    /// Its owner has as many connections as they may. It may come again: for some seconds the connections of an instance
    /// that died count too.
    ConnectionLimit,
    /// It uses what is not offered.
    NotAvailable,
}

impl Disconnect {
    /// The number.
    pub const fn code(self) -> u16 {
        match self {
            Self::Shutdown => 3001,
            Self::ServerError => 3004,
            Self::Slow => 3008,
            Self::NoPong => 3012,
            Self::ConnectionLimit => 3013,
            Self::InvalidToken => 3500,
            Self::BadRequest => 3501,
            Self::Stale => 3502,
            Self::NotAvailable => 3508,
        }
    }

    /// The same in words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::ServerError => "internal server error",
            Self::Slow => "slow",
            Self::NoPong => "no pong",
            Self::InvalidToken => "invalid token",
            Self::BadRequest => "bad request",
            Self::Stale => "stale",
            Self::ConnectionLimit => "connection limit",
            Self::NotAvailable => "not available",
        }
    }
}

/// Why the server ends a subscription. From 2500 on clients subscribe again by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsubscribed {
    /// Who is subscribed may be so no longer.
    PermissionLost,
    /// Something was missed on the way; subscribing again recovers it.
    InsufficientState,
}

impl Unsubscribed {
    /// The number.
    pub const fn code(self) -> u32 {
        match self {
            Self::PermissionLost => 2000,
            Self::InsufficientState => 2500,
        }
    }

    /// The same in words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::PermissionLost => "permission lost",
            Self::InsufficientState => "insufficient state",
        }
    }
}
