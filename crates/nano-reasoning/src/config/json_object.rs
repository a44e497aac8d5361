//! A JSON object whose members remember their line, which a plain deserializer forgets.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Members of an object, in the file's order, duplicates included.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object { … }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Bytes of `text` before `part`, which is a slice of it.
pub(super) fn offset_of(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

/// The line, counted from 1, on which `part` starts within `text`, of which it is a slice.
pub(super) fn line_of(text: &str, part: &str) -> usize {
    let before = &text.as_bytes()[..offset_of(text, part)];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_know_their_lines() {
        let text = "{\n  \"a\": 1,\n\n  \"b\": {\n    \"c\": [\n  2]\n  },\n  \"a\": null }";
        let Members(members) = serde_json::from_str(text).unwrap();
        let lines: Vec<_> =
            members.iter().map(|(key, value)| (key.as_str(), line_of(text, value.get()))).collect();
        assert_eq!(lines, [("a", 2), ("b", 4), ("a", 8)]);
        let Members(inner) = serde_json::from_str(members[1].1.get()).unwrap();
        assert_eq!(line_of(text, inner[0].1.get()), 5);
    }
}
