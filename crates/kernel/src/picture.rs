//! Tokens that a picture takes, by its size in pixels and by who sees it: the vendors' published formulas.
//!
//! Knows ids of models and sizes, no files. What is not known is bounded. Start at [`Sight::of`].

use contract::limits;

/// How a vendor's models count pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Pixels by 750, at most what the largest of its pictures takes.
    Anthropic,
    /// Tiles of 512 pixels after scaling, each of this many tokens, and so many for the whole.
    Tiles {
        /// For the whole.
        base: u64,
        /// For each tile.
        tile: u64,
    },
    /// Patches of 32 pixels, at most 1,536 of them, times this many hundredths.
    Patches {
        /// Hundredths of a token for a patch.
        hundredths: u64,
    },
    /// Tiles of up to 768 pixels, of 258 tokens each; newer ones take a fixed number.
    Google,
    /// Nobody published how: the most that any of the others takes.
    Unknown,
}

/// The most a picture takes with Anthropic's models that see the finest.
const ANTHROPIC_MOST: u64 = 4_784;
/// Pixels for a token there.
const ANTHROPIC_PIXELS: u64 = 750;
/// OpenAI's tiles: pixels of a side of the square a picture is scaled into, of its shorter side then, and of a tile.
const SQUARE: u64 = 2_048;
const SHORT: u64 = 768;
const TILE: u64 = 512;
/// OpenAI's patches: pixels of a side, and how many there can be.
const PATCH: u64 = 32;
const PATCHES: u64 = 1_536;
/// Google's tiles: tokens, pixels of a side, and what its third generation takes for any picture.
const GOOGLE_TILE: u64 = 258;
const GOOGLE_SIDE: std::ops::RangeInclusive<u64> = 256..=768;
const GOOGLE_FIXED: u64 = 1_120;
/// Pixels of a side that it scales larger pictures down to.
const GOOGLE_LONGEST: u64 = 3_072;

/// What the usual tiles take; the smallest of that generation takes far more for the same picture.
const USUAL: Sight = Sight::Tiles { base: 85, tile: 170 };

impl Sight {
    /// How the model of this id sees: `provider/name`, or `router/vendor/name`.
    pub fn of(id: &str) -> Self {
        let (path, name) = id.rsplit_once('/').unwrap_or(("", id));
        match path.rsplit('/').next().unwrap_or_default() {
            "anthropic" => Self::Anthropic,
            "google" | "gemini" => Self::Google,
            "openai" if name.starts_with("gpt-4o-mini") => Self::Tiles { base: 2_833, tile: 5_667 },
            "openai" if name.contains("nano") => Self::Patches { hundredths: 246 },
            "openai" if name.contains("mini") => Self::Patches { hundredths: 172 },
            "openai" => USUAL,
            _ => Self::Unknown,
        }
    }

    /// Tokens of a picture of this width and height; `None` = its size is not known.
    pub fn tokens(self, pixels: Option<(u32, u32)>) -> u64 {
        let Some((width, height)) = pixels else { return limits::PICTURE_TOKENS };
        let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
        match self {
            Self::Anthropic => (width * height).div_ceil(ANTHROPIC_PIXELS).min(ANTHROPIC_MOST),
            Self::Tiles { base, tile } => base + tile * tiles(width, height),
            Self::Patches { hundredths } => {
                let patches = width.div_ceil(PATCH) * height.div_ceil(PATCH);
                (patches.min(PATCHES) * hundredths).div_ceil(100)
            }
            Self::Google => {
                let (width, height) = (width.min(GOOGLE_LONGEST), height.min(GOOGLE_LONGEST));
                let side = (width.min(height) * 2 / 3).clamp(*GOOGLE_SIDE.start(), *GOOGLE_SIDE.end());
                (width.div_ceil(side) * height.div_ceil(side) * GOOGLE_TILE).max(GOOGLE_FIXED)
            }
            Self::Unknown => {
                let all = [Self::Anthropic, USUAL, Self::Patches { hundredths: 246 }, Self::Google];
                let most = all.into_iter().map(|sight| sight.tokens(pixels)).max();
                most.unwrap_or_default().min(limits::IMAGE_TOKENS)
            }
        }
    }

    /// The most it can take: what is reserved.
    pub fn most(self, pixels: Option<(u32, u32)>) -> u64 {
        // One whose size is not known may have the worst there is.
        let worst = match self {
            Self::Tiles { .. } => Some((2_048, 768)),
            Self::Google => Some((3_072, 384)),
            Self::Anthropic | Self::Patches { .. } | Self::Unknown => None,
        };
        self.tokens(pixels.or(worst)).max(limits::IMAGE_TOKENS)
    }
}

/// Tiles of a picture that is scaled down into a square, and then until its shorter side is short enough.
fn tiles(width: u64, height: u64) -> u64 {
    let scaled = |(width, height): (u64, u64), from: u64, to: u64| match from > to {
        true => ((width * to).div_ceil(from), (height * to).div_ceil(from)),
        false => (width, height),
    };
    let inside = scaled((width, height), width.max(height), SQUARE);
    let (width, height) = scaled(inside, inside.0.min(inside.1), SHORT);
    width.div_ceil(TILE) * height.div_ceil(TILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_own_examples() {
        for (id, size, tokens) in [
            // Anthropic: "1 megapixel: about 1334 tokens", "200x200: about 54".
            ("anthropic/claude-sonnet-4-5", (1000, 1000), 1_334),
            ("openrouter/anthropic/claude-opus-4-5", (200, 200), 54),
            ("anthropic/claude-opus-4-7", (8000, 8000), 4_784),
            // OpenAI: a square of 1024 is four tiles, 2048 x 4096 are six, 4096 x 8192 too.
            ("openai/gpt-4o", (1024, 1024), 765),
            ("openai/gpt-4.1", (2048, 4096), 1_105),
            ("openai/gpt-4o-mini", (512, 512), 8_500),
            ("openai/gpt-4.1-mini", (1024, 1024), 1_762),
            ("openai/gpt-5-nano", (8000, 8000), 3_779),
            // Google: small ones are one tile; 960 x 540 are six.
            ("google/gemini-2.5-pro", (960, 540), 1_548),
            ("google/gemini-2.5-pro", (100, 100), 1_120),
        ] {
            assert_eq!(Sight::of(id).tokens(Some(size)), tokens, "{id} {size:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_bounded_and_what_is_reserved_is_never_less() {
        assert_eq!(Sight::of("ollama/llava").tokens(None), limits::PICTURE_TOKENS);
        for id in ["ollama/llava", "anthropic/x", "openai/gpt-4o-mini", "openai/gpt-5", "google/x"] {
            let sight = Sight::of(id);
            for size in [(0, 0), (1, u32::MAX), (4_000, 3_000), (3_000, 400), (u32::MAX, u32::MAX)] {
                let most = sight.most(Some(size));
                assert!(most >= sight.tokens(Some(size)) && sight.most(None) >= most, "{id} {size:?}");
            }
        }
    }
}
