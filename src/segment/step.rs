//! The steps of a segmentation, for progress and for profiles.

/// A step of the pipeline. Its end is reported as a percentage, roughly its share of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The image is reduced to blocks.
    Blocks,
    /// The light without the objects is estimated.
    Background,
    /// The light is evened out and the noise smoothed.
    Flatten,
    /// The levels are found.
    Levels,
    /// Bright objects are looked for.
    Bright,
    /// Dark objects are looked for.
    Dark,
    /// Bodies and gaps are looked for by texture.
    Texture,
    /// Outlines are traced.
    Contours,
    /// Objects are measured.
    Measurements,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::Blocks,
        Self::Background,
        Self::Flatten,
        Self::Levels,
        Self::Bright,
        Self::Dark,
        Self::Texture,
        Self::Contours,
        Self::Measurements,
    ];

    /// What [`Progress`](super::Progress) is told when the step has ended.
    pub const fn percent(self) -> u8 {
        match self {
            Self::Blocks => 5,
            Self::Background => 10,
            Self::Flatten => 35,
            Self::Levels => 40,
            Self::Bright => 60,
            Self::Dark => 80,
            Self::Texture => 85,
            Self::Contours => 90,
            Self::Measurements => 100,
        }
    }

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Background => "background",
            Self::Flatten => "flatten",
            Self::Levels => "levels",
            Self::Bright => "bright objects",
            Self::Dark => "dark objects",
            Self::Texture => "texture",
            Self::Contours => "contours",
            Self::Measurements => "measurements",
        }
    }

    /// The step that has ended when this percentage is told.
    pub fn ended_at(percent: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.percent() == percent)
    }
}
